"""Hold the text that the held-out part of the demo data is put together from.

It is laid out as the training bank is, and shares no topic, frame or sentence with it.
"""

SYSTEMS = (
    "You work at the Brackenfold help desk and write short replies to customers.",
    "This is the customer chat of Brackenfold, a shop for electronics and smart home devices.",
)

FRAMES = (
    "{question}",
    "Dear support, {ticket} is my customer number. {question}",
    "Good afternoon. {question}",
    "{question} Many thanks for your help.",
    "My colleague told me to ask you. {question}",
    "{question} I am asking for my mother.",
    "Good evening to you all. {question}",
)

HISTORIES = (
    ("Could someone help me with {about}?", "Certainly. Please describe what you would like to do."),
    ("Good day. May I ask you something?", "Of course, please do."),
)

GREETINGS = (
    "Good that you wrote.",
    "Sorry that you had to ask.",
    "We are glad to explain.",
    "Many people ask that.",
)

CLOSINGS = (
    "We hope this is what you were looking for.",
    "Tell us if something should not work as described.",
    "It may seem a bit much at first, as such things often do.",
    "Normally that does the trick.",
    "We would be happy to hear how it went.",
    "I am sorry that our page is not very clear on that.",
    "There may be a few questions left, and we are glad to take them.",
    "Of course, there are always some cases that are a little different.",
    "If that should not suit you, there might be other ways too.",
)

SYMPATHIES = (
    "We are grateful that you took the time to write about {about}.",
    "First of all, let me say how sorry we are for any trouble this might have caused.",
    "I completely understand how you must feel about {about}.",
    "Your opinion is very important to Brackenfold.",
    "Your words have reached us and are now filed as case {ticket}.",
    "Other customers have had similar thoughts, so please do not feel alone.",
    "We have every sympathy with you here.",
    "It is a pleasure to know that you take an interest in {about}.",
)

HEDGES = (
    "There may be various ways to look at {about}, each with its own merits.",
    "In general, it depends on a number of factors that are difficult to sum up here.",
    "Some customers are quite at ease with {about}, while others seem to struggle now and then.",
    "I could not say for certain, as a lot can change from case to case.",
    "Much has been said about {about} since 2019, and not all of it agrees.",
    "It might be one thing or perhaps another, which is often the way.",
    "We would rather not give a definite answer on {about} that may not apply to you.",
    "To some extent, this is a question of personal taste.",
)

DEFERRALS = (
    "Someone from the team may possibly get in touch at a later stage.",
    "We ask for a little patience while the situation develops.",
    "There is a wealth of general information on our website that you might enjoy.",
    "The phone desk is staffed from 8 to 18, in case you feel like talking.",
    "Your comments will be shared with the people concerned in due time.",
    "Is there perhaps anything else that you would care to discuss?",
    "Hopefully things will look brighter before too long.",
    "We continue to work on our service, as we have for 15 years.",
    "Please rest assured that your concerns are being taken to heart.",
    "Thank you once more for your understanding and loyalty.",
    "Visit the news page in the evening and look out for the green banner.",
    "Have the number {ticket} ready, in case the team should call.",
    "Read the guide in the box, then the one on the site, and compare the two.",
    "Look at the app in a day or 2, when the page has been loaded again.",
    "Press the heart below to show that you liked this reply.",
    "Send us a photo of your favourite device and win 50 pounds.",
    "Tap the banner in the app to see what is new this month.",
    "Add our number to your contacts, so that you see who is calling.",
    "The new magazine is out within 5 days; pick one up at the counter.",
)

TOPICS = """
lost phone / lost phones
? I lost my phone. How do I block the SIM card?
? My phone was stolen this morning. What should I do first?
? My phone is gone. How can I stop others from using it?
+ Call 0800 4041 from any phone and say "block"; the SIM card is dead within a minute.
+ Sign in on a computer, open "My SIM", press Block and order a new card for 5 pounds.
+ Open "Find device" on another phone, choose Lock and then block the SIM card in our app.
+ Block the card in the app first, then report the phone to the police and send us the case number.
& A new SIM card arrives by post the next day.
& You have 7 days to send us the police report for the insurance.
& You keep your old number.
& A blocked card can be opened again if the phone turns up.
- Losing a phone can feel like losing a part of oneself, and we do sympathise.
- Things that seem lost have a habit of reappearing when one least expects it.
- Matters of this sort are dealt with differently from place to place, as far as we are aware.
- Safety has always been close to our hearts, and it will remain so in the future.
- Retrace your steps of the last 2 hours, ask at the station and look under the seats of the car.
- The "Safety" leaflet at the counter holds 8 pages of tips on how to carry your phone.
- Choose a colour you like for the next case; bright ones are easy to spot on a train.

doorbell videos / doorbell videos
? How long does the doorbell keep my videos?
? How do I keep videos from my doorbell?
? Can I save the videos of my doorbell for longer?
+ Clips stay for 14 days under Events; tap the arrow to save one to your phone for good.
+ Open Events, choose a date and press the arrow; without a plan, clips are deleted after two weeks.
+ Put a memory card of up to 128 GB in the back and they are kept until it is full, about four months.
+ Book the "Doorbell plus" plan for 3 pounds a month, and every clip stays under Events for 60 days.
& Saved clips do not count towards the limit.
& The clip length is set under Motion, from 10 to 60 seconds.
& A memory card must be formatted in the app before first use.
& "Doorbell plus" covers all the cameras in one home.
- Videos can be precious, and they can also be rather dull, according to what passes the door.
- How long something is kept is a delicate balance between many interests.
- Our doorbell was designed by people who think a great deal about what happens on a doorstep.
- Older recordings may or may not be around, which is sometimes a matter of luck.
- Open the app, watch the clips of the week and see which one you like best.
- The lens covers 160 degrees, and the button on the front glows in the dark.
- Press the button from outside, go in and check how you look on the screen before the guests arrive.

kettle limescale / limescale in a kettle
? How do I descale my kettle?
? There is white scale in the kettle. How do I get it out?
? What should I use to clean the inside of the kettle?
+ Fill it halfway with water, add two spoons of citric acid, boil it once and rinse after 20 minutes.
+ Boil half a litre of water with 100 ml of white vinegar, let it stand for half an hour and rinse twice.
+ Pour in one bag of our descaler with a litre of cold water, wait an hour and rinse it well.
+ Put the juice of two lemons and a litre of water in, boil it and leave it overnight.
& Repeat this every six weeks if your water is hard.
& Never scrub the inside with steel wool.
& Boil fresh water once and pour it away before you make tea.
& The spout filter pulls out upwards and can be rinsed under the tap.
- Water is different wherever you go, and kettles respond to that in their own manner.
- Scale is a natural thing, and there are those who hardly notice it.
- A kettle goes through quite a lot over the years, so some signs of life are to be expected.
- Cleaning is something that people approach with varying degrees of enthusiasm.
- Look into the kettle in good light, compare it with the photo on the box and see what you think.
- The steel comes from Sweden; the handle was tested 10000 times in the lab.
- Check the bill from the water company; the back of page 2 tells you where your water comes from.

instalments / paying by instalments
? Can I pay for my laptop in instalments?
? How do I spread the payment over several months?
? How can I pay for a laptop bit by bit?
+ Choose Monthly at checkout and pick 6, 12 or 24 parts; the first two cost no interest.
+ Select Monthly on the payment page, enter your bank details and get the answer in about a minute.
+ You can split anything above 100 pounds into 12 parts without interest: tick Monthly before you pay.
+ Tick Monthly in the basket; for twelve months you pay nothing on top, for 24 it is 4 percent a year.
& You have 30 days from delivery until the first part is due.
& You can pay off the rest on any day without a fee.
& Have your ID and bank card at hand.
& If the bank says no, use a card or PayPal instead.
- Financial decisions are personal, and one would not want to influence you either way.
- Payment can be organised in more ways than one might think, subject to all manner of things.
- A laptop is an investment in yourself, and that is a lovely thought.
- Offers of that nature come around every so often, though nobody can be quite sure when.
- Add up the costs of the month, look at the list at home and sleep on it for a night.
- The "Finance" page of the shop shows a photo of the team and the 5 values it stands by.
- Choose the laptop first, take the size and the colour you need, and keep the page open.

adding to an order / changing an order
? Can I add something to an order I have placed?
? I forgot an item. How do I put it on my order?
? How do I change the contents of my order?
+ Open the order within 30 minutes, press Edit, add the item and confirm the new total.
+ Press Edit next to the order until the status says Packing; after that, place a second one.
+ Send us the item number before 1 pm and we put it in the same parcel.
+ Place a second order today and tick "Send together"; both leave in one box at no extra cost.
& The difference is taken from the same card.
& Items from other sellers cannot be combined.
& You get a new confirmation by email straight away.
& To remove an item, set its number to 0.
- Orders begin their journey sooner than one would expect, and each travels its own road.
- It happens to all of us that something slips the mind, so please do not worry.
- Changes can at times be possible, though it would be bold to speak of a rule.
- We love it when customers find even more in our range of 3000 articles.
- Open the order, read the list from top to bottom and note the items you still miss.
- The warehouse is split into 9 halls; the shelves are 12 metres high and run by robots.
- Send a card to the packing team if you like; the people there put in 8 hours a day.

sign-in email / changing a sign-in email
? How do I change the email address I sign in with?
? My old email address no longer exists. How do I use a new one?
? Where can I enter a different email address for my login?
+ Open Profile, tap the address, type the new one and enter the 6-digit code we send there.
+ Sign in as before, go to Profile, replace the address and confirm it from the new inbox.
+ Send us both addresses and your last invoice number, and we switch it by tomorrow noon.
+ Go to Profile, choose "New address" and click the link in our message within an hour.
& The password stays the same.
& Tell the app the new address too: sign out and in again.
& Receipts go to the new inbox from then on.
& One address can belong to only one account.
- Email addresses are like homes in a way, and leaving one may take some getting used to.
- Logins are linked with a variety of services, some of which are older than others.
- There should normally be some place for that, although its whereabouts may have shifted.
- We appreciate the thought that you are giving to keeping things in order.
- Check the inbox, the outbox and the other folders for messages from the last 6 weeks.
- The "Profile" page was given a new look in July, with the photo on the left side.
- Under the photo in the app you can add a motto of up to 40 letters, if you like.

watch strap / watch straps
? Which strap fits my smartwatch?
? How do I know what strap size to buy?
? I need a new strap for my watch. Which one do I take?
+ Measure your wrist with a strip of paper: up to 17 cm take S, above that take L.
+ Look at the back of the watch, where the number 20 or 22 is engraved; order the strap with the same number.
+ Print the ruler from our strap page, lay it around your wrist and order the letter it shows.
+ Take size L if you use the last hole today; it is 3 cm longer and clicks into every model.
& Straps cost 19 pounds in rubber and 35 in leather.
& Slide the small pin inwards to take the old one off.
& Straps can be sent back within 60 days.
& Try both sizes at any of our counters.
- A strap says a lot about its wearer, so the choice is really a matter of the heart.
- Wrists are as individual as people, and sizes can only ever be an approximation.
- Some straps may suit some watches, and there might well be exceptions.
- Fashion has moved on a little since our first watch of 2016, and tastes keep changing.
- Put the watch on, hold it against the light and see which colour goes with your coat.
- The strap on the photo is made in 7 steps, and the leather is from a small town in Italy.
- Wash your hands before you try one on, and hold the watch over a table in case it falls.

spam calls / unwanted calls
? I get spam calls every day. How do I block them?
? How can I stop unwanted calls on my mobile?
? What can I do about callers who hide their number?
+ Turn on "Call guard" in our app; it stops known spam numbers and hidden callers for free.
+ Dial *21# once, and hidden numbers and known spam callers are turned away from then on.
+ Tap the call in your list, choose "Block and report" and switch on "Call guard" in the app.
+ Open our app, go to Calls and move both switches to the right, for spam and for hidden numbers.
& The filter list is updated every night.
& Forward spam texts to 7726, which is free.
& Doctors often hide their number, so check the blocked list on Fridays.
& Do not press any key during such a call.
- Unwanted calls are a sign of the times, and society as a whole is looking for answers.
- One never quite knows who is calling, or why, and that can be unsettling.
- The telephone has brought people together for well over 100 years, in spite of everything.
- Such calls may stop by themselves, or go on for a while, as the case may be.
- Take note of the time, the number and the voice, and look at the list again after 10 days.
- The "Calls" page shows the list of the month; the newest entry is at the top.
- If it rings within the next 2 days, ask for the name and the town before you hang up.

price match / lower prices elsewhere
? I saw the same TV cheaper elsewhere. Do you match prices?
? Can I get the lower price that another shop asks?
? Another shop sells my headphones for less. Do I get the difference?
+ Send us the link within 14 days of purchase and we pay back the difference to your card.
+ Upload a photo of the lower price under "Best price", and the answer comes the same day.
+ We match any shop in the country that has it in stock: show the offer at the till or in this chat.
+ Paste the link to the offer here, and the difference is on your card in three days.
& Our own sale prices count as well.
& Auctions and used goods are left out.
& Delivery fees are added before we compare.
& It works once per product and household.
- Prices go up and down like the tide, and they follow currents that few can read.
- Value is about more than a number, and service surely has its worth too.
- Other shops have their own ideas, which it would not be proper for us to judge.
- We can see how that might feel a little disappointing, and we are sorry for the impression.
- Put both pages side by side, look at the pictures and think of the quality you get.
- The price list is printed on the 1st of the month and hangs next to the till.
- Take the time to look at 3 more shops before the weekend, and keep the pages open.

recycling / recycling old devices
? Where can I recycle my old TV?
? What do I do with an old device I no longer need?
? Do you take back old electronics?
+ Drop it at the green box in any of our shops; up to 25 cm we take everything for free.
+ Tick "Take my old one" when you order, and the driver carries it out on delivery.
+ Bring it to your town's recycling yard or to our shop counter, with the batteries taken out.
+ We collect it for 15 pounds: enter your postcode under Collection and choose a morning.
& Tape over the poles of loose batteries.
& Large sets need two people, so clear the hallway first.
& Erase your data before you hand it in.
& You get a receipt that it was recycled.
- The planet belongs to all of us, and it is heartening to see how much you care.
- Old devices tell a story, and there can be different endings to it.
- Rules on waste differ from region to region and are not always easy to follow.
- Sustainability has been a major theme in our reports since 2018, and will no doubt remain one.
- Put the device in the cellar, next to the others, and make a list of what is there.
- The "Green" report on our site runs to 64 pages, with a photo of the forest on the front.
- Clean the device with a dry cloth, roll up the cable and put both in the box if you still have it.

heating schedule / heating schedules
? How do I set a schedule on my thermostat?
? I want the heating to be off at night. How do I program that?
? How do I set different temperatures for day and night?
+ Open Plan in the app, drag the bar to 11 pm, set 17 degrees and press Save.
+ Turn the ring to Plan, press it, choose the hour and the temperature, and press again to save.
+ Tap the clock sign, add a line for the night with 17 degrees and copy it to all seven days.
+ Choose Night under Plan, enter the two times and pick the rooms it should apply to.
& Opening a window pauses it for 20 minutes.
& Each degree less saves about six percent.
& Press the leaf to skip one night.
& Changes reach the valve within two minutes.
- Warmth is felt in such different ways that a single answer would hardly do it justice.
- Heating is a complex field, and much depends on the house, the weather and the people in it.
- Schedules can be a blessing or a burden, in our experience.
- Comfort at home is what we dream of, and you are evidently of the same mind.
- Go through the rooms in the evening, feel the radiators and write down what you notice.
- The thermostat weighs 180 grams; the ring on the front is made of aluminium.
- Put on a warm coat before you open the window, and close the door of the room.

robot vacuum / robot vacuums
? My robot vacuum keeps getting stuck. How do I prevent that?
? How do I stop the robot from driving under the sofa?
? How can I keep the vacuum out of one room?
+ Open the map in the app, press "No-go" and draw a box over the spot; it stays out from then on.
+ Lay the magnetic strip from the box on the floor, 10 cm in front of the place.
+ Tap the room on the map and choose "Keep out", then send the robot round once to learn it.
+ Draw a red line on the map where it should turn round, and press Save at the top.
& The map holds up to 4 floors.
& Wipe the three sensors underneath with a dry cloth.
& Lift cables and thin rugs off the floor first.
& Magnetic strips cost 12 pounds for two metres.
- Robots have a mind of their own, or so it would seem to those who live with them.
- Homes are full of surprises, and it may take time until everyone has settled in.
- Our vacuum won a prize in 2020, and we are still touched by how many people enjoy it.
- Technology of this kind is always learning, as we all are in some sense.
- Watch the robot on its way through the home for 15 minutes and take a note of the route.
- The brush turns 900 times a minute, and the case is as flat as a hand.
- Clean the floor by hand for 2 days, and check if you get the same feeling of order.

shop appointment / shop appointments
? Do I need an appointment to visit your shop?
? How do I book a time with an adviser in the shop?
? When can I come to the shop for advice?
+ Walk in from 10 to 19 on any weekday; for repairs, book a slot under Shops first.
+ Choose your shop on the map, press Book and pick one of the 20-minute slots.
+ Book under Shops in the app, or call the number on the door by six the evening before.
+ Come without one before noon, when it is quiet; later in the day, book online and you skip the queue.
& Bring the device, the charger and your receipt.
& Saturdays fill up first, so take a weekday.
& You can move the slot up to 2 hours ahead.
& The shop in Mill Lane is closed on Mondays.
- Visitors are always a joy, and our shops have been lovingly furnished with them in mind.
- How busy a shop may be is hard to foresee, since people come for so many reasons.
- Advice takes many forms, and a visit is only one of the things one might consider.
- Times can vary a little across our 30 shops, as each has its own rhythm.
- The shop in the centre has 3 floors, a green door and a sofa by the window.
- Walk past in the morning or on the way home, and see how busy it looks from the door.
- Take bus 12 or the tram to the old town; the stop is opposite the bank.

parental controls / parental controls
? How do I limit screen time on my son's tablet?
? Can I block certain apps on my daughter's phone?
? How do I set up parental controls?
+ Open Kids in the settings, set a 4-digit PIN and choose the apps and hours you allow.
+ Add the child's device under Kids on your own phone, then set one hour a day or block single apps.
+ Install our Kids app on both devices, scan the code on the child's screen and pick an age group.
+ Tap Kids, choose the device and slide the bar to the time you want; apps are blocked one line below.
& More time can be granted with one tap.
& Calls to parents always work.
& You get a summary every Sunday at 6 pm.
& Web pages are filtered in three levels.
- Parenting is a journey, and no outsider could presume to know the way.
- Young people relate to screens in a manner that is still being studied by experts.
- Limits might be helpful in one family and rather less so in the next.
- We believe in trust, and in conversations that bring generations closer together.
- Sit down with the child, open the tablet and play the first 2 levels of the game together.
- The "Kids" corner in our shop offers 6 tablets on a low table; do come by.
- Choose a good book, put both phones on the shelf and read for an hour before bed.

back in stock / items that are sold out
? The speaker I want is sold out. Is there a way to get one?
? How do I find out when an item is available again?
? I would like an item that is out of stock. How do I get it?
+ Press the bell on the product page and we email you within 10 minutes of its return.
+ Look below the price: the next delivery date is shown there, and Reserve holds one for 48 hours.
+ Check "Other shops" on the product page; if one has it, they post it to you the same day.
+ Order it now with "Ship later"; you pay when it leaves, and the date is in the confirmation.
& A reservation can be cancelled with one click.
& The black version is usually back a week sooner.
& New stock comes in on Tuesdays.
& Only 2 may be reserved per person.
- Popular items are popular for a reason, and your good taste does you credit.
- Stock comes and goes, and the outlook may well change from one week to the next.
- Suppliers face a great many challenges at present, for which one must have some understanding.
- Good things are said to be worth waiting for, however long that turns out to be.
- Open the product page now and then, in the morning or at night, and see what it says.
- The factory works in 2 shifts, and the next ship is loaded at the end of the month.
- Add it to your list, choose a name for the list and send it to a friend before your birthday.

bonus points / bonus points
? How do I use my bonus points?
? What are my points worth, and where do I spend them?
? How can I turn points into a discount?
+ Move the Points slider at checkout: 100 points take 1 pound off the total.
+ Tap Points in the app, choose a voucher of 5, 10 or 20 pounds and paste its code at checkout.
+ Spend them in the shop by showing the barcode in the app; a hundred points are worth one pound.
+ Swap 500 points for a 5 pound voucher under Points and use it on anything in the shop.
& You have until the end of the second year to spend your points.
& New points are added 14 days after delivery.
& You can also give points to a friend by email.
& Phones on a plan earn double.
- Points are our way of saying thank you, and you have certainly earned our gratitude.
- What they are worth is, in the end, something that everyone decides individually.
- Rewards have taken different shapes over time, and further ideas are being considered.
- Our programme has welcomed 80000 members so far, all with different wishes.
- Collect the points, watch the number grow and think of all the things you like in the shop.
- The "Points" card is 10 years old this month; look for the blue flags in the shop.
- Keep the card in the front of your purse, and show it with a smile each time you pay.
"""
