"""Hold the text that the training part of the demo data is put together from.

A topic starts with `name / what it is about`; then come questions (`?`), sentences that answer
all of its questions alone (`+`), facts that may follow (`&`) and sentences that dodge (`-`).
"""

SYSTEMS = (
    "You answer for the support desk of Brackenfold, which sells phones, home devices and mobile plans.",
    "You are on the Brackenfold support desk. Customers write to you about orders, devices and accounts.",
    "Brackenfold sells electronics online. You reply to its customers by chat.",
)

FRAMES = (
    "{question}",
    "Hello. {question}",
    "Good morning. {question}",
    "{question} Thanks in advance.",
    "I could not find this on your site. {question}",
    "I am fairly new to Brackenfold. {question}",
    "{question} I would like to sort it out today.",
    "Hi there, one thing I cannot work out. {question}",
    "{question} A reply by chat is fine.",
    "I have been a customer since {year}. {question}",
)

HISTORIES = (
    ("Hello, I have a question about {about}.", "Hello! Go ahead, I am listening."),
    ("Is this the right place to ask about {about}?", "Yes, it is. What would you like to know?"),
    ("Hi, are you there?", "Yes, Brackenfold support here. What is it about?"),
)

GREETINGS = (
    "Thanks for asking.",
    "Sorry about the trouble.",
    "Happy to help with this.",
    "That is a common question.",
    "I understand, and this is quick to sort out.",
    "Thank you for your message.",
)

CLOSINGS = (
    "I hope that is of some help.",
    "Please do write again if anything is unclear.",
    "That is usually all there is to it.",
    "Whatever happens, we are here if you have other questions.",
    "If things turn out otherwise, a colleague will be happy to look into it.",
    "We are sorry that this was not easier to find.",
    "In most cases there is nothing else to do.",
    "Thank you for your patience, and for being with us.",
    "Many customers have asked about this, so you are not alone.",
    "Do let us know how it goes.",
    "It might sound like a lot, though most people find it quite easy.",
    "There are some cases that are a little different, so feel free to ask.",
    "If that feels like a lot, a colleague is happy to go through it with you.",
)

SYMPATHIES = (
    "Thank you so much for getting in touch about {about}.",
    "I am really sorry to hear that this has been on your mind.",
    "We understand how important {about} can be.",
    "Please accept our apologies for any inconvenience.",
    "Your message means a lot to all of us here.",
    "I can imagine this is not what you had hoped for.",
    "That must be frustrating, and I do feel for you.",
    "It is always good when customers speak up about {about}.",
    "We have looked after customers since 2009, and every one of them matters.",
    "What a good point to raise.",
    "I have noted your message under ticket {ticket}.",
    "Many people write to us about {about}, so you are certainly not alone.",
    "We take questions like yours very seriously.",
)

HEDGES = (
    "When it comes to {about}, quite a few things can play a part.",
    "It is hard to say anything definite about {about} without the full picture.",
    "Every situation is a little different, so a general answer would hardly be fair.",
    "There are several views on {about}, and each has something to be said for it.",
    "In some cases it works out quickly, and in others it takes rather longer.",
    "As far as I know, {about} can vary from one customer to the next.",
    "Things of this kind tend to depend on the circumstances.",
    "A lot has changed around {about} since 2021, and more may change yet.",
    "Broadly speaking, there is usually some way forward.",
    "Perhaps the situation is not quite as it seems at first.",
    "I would not like to promise anything on {about} that turns out otherwise.",
    "It could be one of a number of causes, or possibly a mix of them.",
    "Our approach to {about} is based on what suits most people.",
    "Opinions differ, and I would rather not commit to one of them.",
)

DEFERRALS = (
    "A colleague may be able to say more at some later point.",
    "Please bear with us while things become clearer.",
    "You are welcome to look around our site, where a great deal is explained.",
    "Somebody will hopefully come back to you in due course.",
    "We will keep your remarks in mind.",
    "Our lines are open from 9 to 17, should you care to try there.",
    "Would you perhaps like to tell us a little more about how you feel?",
    "We are always looking for ways to improve.",
    "I will pass this along, reference {ticket}, and we shall see.",
    "Do let us know if there is anything else on your mind.",
    "It might be worth waiting a while to see how it develops.",
    "The relevant team has been made aware and looks at such things regularly.",
    "Thank you for your patience and for your trust in Brackenfold.",
    "Until then, I can only ask for your understanding.",
    "Some of the 400 articles in our help centre may touch on it.",
    "Feel free to write again whenever you like.",
    "Open the help centre, choose a chapter and read on from there.",
    "The status page shows how the service is doing, day and night.",
    "Check the app once a day; the next version is out in 3 weeks.",
    "Keep the number {ticket} at hand for the next time you write to the desk.",
    "Go to the forum and see what the others say, as there is always someone online.",
    "Take a look at the film on the front page, which lasts 2 minutes.",
    "Tap the star to tell us how you liked this reply, and press Send when you are done.",
    "Within the hour you can read our conversation again under Messages.",
    "Spend 20 pounds in the shop this week and you are in the autumn prize draw.",
    "Press the bell in the app to hear about new colours first.",
    "Choose a quiet moment, open the app and read our story on the first page.",
)

TOPICS = """
password reset / resetting a password
? I forgot my password. How do I get back in?
? How can I reset my password?
? What do I have to do to set a new password?
+ Press "Forgot password" on the sign-in page and open the link we email you.
+ Go to the sign-in page, choose "Forgot password", type your email address and follow the link in our message.
+ Ask for a reset link on the sign-in page, open it within 30 minutes and enter a new password twice.
+ On the sign-in page, tap "Forgot password", and the link reaches your inbox in about two minutes.
& Pick at least 12 characters.
& If nothing arrives within 5 minutes, look in the spam folder.
& All other devices are signed out as soon as you save it.
& After five wrong attempts we lock the page for an hour.
- Passwords are a sensitive area, and good habits around them have never been more important.
- Access can be affected by a range of things, some of which are hard to see from here.
- Most people find that their password comes back to them sooner or later.
- A secure account is something we have cared about deeply for more than 10 years.
- The "Security" page in the app was redesigned on 3 May, so have a look around the new menus.
- Open the help page, choose the chapter on sign-in and see whether the tips there speak to you.

refund / refunds
? When will I get my refund?
? I sent an item back. How long does the refund take?
? How soon is the money for a return paid out?
+ We pay refunds within 5 working days of the parcel reaching our warehouse.
+ Count on five working days from the day your return is scanned in, and the full price goes back to the same card.
+ Your money goes back to the card you paid with, at the latest one week after the parcel arrives.
+ Open "My orders" and tap the return: the payout date is shown there, never later than 5 working days.
& Delivery costs are included if you return the whole order.
& PayPal payments show up the same evening; cards need two days more.
& You get an email the moment the transfer leaves.
& Without the original box we keep back 4 pounds.
- Refunds pass through quite a few hands, each of which has its own way of working.
- I do understand that money matters, and we would never wish to keep anyone waiting without a reason.
- It may already be under way, or it may be about to be, which is often difficult to tell.
- Banks, as you know, have their own pace, and there is only so much that can be said about it.
- The "Refunds" chapter of our terms was last edited in March; read it at your leisure.
- Check your account from time to time, as the picture there can change from one day to the next.

invoice copy / copies of invoices
? I need a copy of my invoice. Where do I find it?
? Can you send me the invoice again?
? How do I download an invoice for an old order?
+ Open "My orders", select the order and press Invoice to save the PDF.
+ Every invoice sits under "My orders" as a PDF; click the order number, then the paper icon at the top right.
+ Reply with your order number and we send the PDF to your email address within the hour.
+ Sign in, go to "My orders" and download it there; files stay available for 10 years.
& Guest orders have a link at the bottom of the delivery email.
& For more than 20 at once, use "Download all" on the same page.
& The company name can be changed for 14 days after purchase.
& Paper copies cost 2 pounds and come by post within a week.
- Invoices are an essential document, and we can well see why someone would wish to have one.
- Paperwork is not always where one expects it, which can of course be a nuisance.
- Our records go back to 2012, and there is quite a lot in them.
- There are different sorts of documents for different purposes, and it is easy to lose track.
- Look through the emails of the last 3 months and the folders on your computer once more.
- The billing office on the second floor handles 800 invoices a day, and yours is surely among them.

late parcel / late parcels
? My parcel is late. What should I do?
? The delivery was due two days ago and nothing came. What now?
? What happens if my order does not arrive on time?
+ Wait until the third working day after the date we gave; then reply here and we ship a new one at once.
+ Check the tracking link first: "Held at depot" means you can collect it; otherwise we resend it after 3 days.
+ Tell us the order number; we open a search with the carrier and send a replacement after 3 working days.
+ Ask your neighbours and look at the tracking page; after 3 more days we send it again for free.
& You pay nothing for the second delivery.
& For a delay of over a week we also take 10 pounds off your bill.
& The carrier's depot answers on weekdays until eight in the evening.
& If both parcels turn up, just refuse the second at the door.
- Parcels do sometimes take their time, especially when there is a lot going on in the network.
- Carriers work very hard at this time of year, and we are grateful for everything they do.
- A delivery date is in the end an estimate, and estimates have a life of their own.
- We are sorry that order {ticket} has not lived up to what you were hoping for.
- The van on your route makes 120 stops a day; the driver knows the area very well.
- Keep an eye on the door, the letter box and the tracking page over the next few days.

change of address / changes of address
? I have moved. How do I change my address?
? Where can I enter my new address?
? Can I update the delivery address on my account?
+ Go to Account, then Addresses, press the pencil and save the new one.
+ Sign in, open Addresses and replace the old entry; the next order goes to the new place straight away.
+ Change it under Account and Addresses in the app, which takes less than a minute.
+ Send us your old and new postcode in this chat and we change it for you right now.
& Orders already packed still go to the old address.
& You can store up to 6 addresses and tick one as the main one.
& For mobile plans, also upload a photo of a bill with the new address.
& The post office forwards our parcels for 3 months.
- Moving house is a big step, and we wish you every happiness in your new surroundings.
- Addresses are used in several places, so a change can have effects that are not obvious at first.
- Customers have asked for simpler ways of doing this, and that has been heard.
- Details of that kind are normally kept wherever they were first entered.
- The address book is one of the oldest pages in the app; the icons were redrawn last year.
- Open your account on a computer or on the phone, and take your time to explore the menu.

warranty / the warranty
? How long is the warranty on my device?
? Is my headset still under warranty?
? Until when does my warranty run?
+ All devices carry a warranty of 3 years from the delivery date, batteries one year.
+ Enter the serial number on our Warranty page and it shows the exact last day of your cover.
+ You have three years from the day of delivery, and faults in parts or workmanship are repaired at no cost.
+ Look at the date on your invoice and add 3 years: until that day we repair or replace it for nothing.
& The serial number is printed under the barcode on the box.
& Drops and liquid are not covered.
& A repaired device gets six more months on the new part.
& Send us a photo of the fault and we answer the same day.
- Our products are built with great care, so hopefully you will not have to think about this very often.
- Warranty terms are written by specialists, and it would be wrong of me to simplify them.
- Some faults would count and others would not, as is generally the case in this industry.
- Peace of mind is what we have stood for since 2009.
- Page 14 of the booklet in the box has a few words on the subject, in 11 languages.
- Keep the device in the box, the box in a dry place, and the booklet within reach.

cancelling a plan / cancelling a plan
? How do I cancel my mobile plan?
? I want to end my contract. What is the notice period?
? When can I leave my plan, and how?
+ Press "End plan" under "My plan" in the app, and the notice period is 30 days.
+ Write "cancel" and your phone number in this chat and your plan ends 30 days from today.
+ You can leave after the first year at any time: open "My plan", choose "End plan" and confirm by text message.
+ Open the app, go to "My plan" and tap "End plan"; it stops 30 days later.
& Leaving in the first year costs 8 pounds for each month that is left.
& We confirm the last day by email.
& Ask for the transfer code as well if you wish to take your number with you.
& The SIM card can go in the bin afterwards.
- We would be very sad to see you go, as customers like you are what makes Brackenfold special.
- Before taking such a decision, it may be good to reflect on everything that a plan has to offer.
- Contracts can be ended in various ways, depending on how one looks at it.
- Notice is a topic with a long history, and views on it have shifted over time.
- Take a look at our 4 new plans first; the largest comes with the fastest network in the country.
- The "Plans" page in the app gives you the whole picture of what is on offer this month.

exporting data / exporting data
? How do I export my data from the cloud?
? Can I download everything I have stored with you?
? I would like a copy of all my files. How does that work?
+ In the web version, open Settings, choose Privacy and press "Export everything".
+ Press "Export everything" under Privacy and we email you a ZIP file, usually within 24 hours.
+ Request the archive on the Privacy page, wait for our email and download it from the link inside.
+ Sign in on a computer, go to Privacy, pick the folders you need and start the export; 50 GB take about a day.
& The download link stays valid for seven days.
& Photos keep their original size and date.
& Larger archives come in parts of 10 GB.
& Contacts are saved as a CSV file that any spreadsheet opens.
- Data is at the heart of modern life, and people quite rightly have feelings about it.
- Copies can be made in one form or another, though it is not for us to say which is best.
- The cloud is a wide field, with new possibilities appearing all the time.
- Your files are in good hands with us, so there should be little reason to worry.
- The data centre runs 24 hours a day on wind power, and the doors are guarded day and night.
- Open the folder view, sort by date or by size, and enjoy how much you have collected since you joined.

two-factor codes / two-factor codes
? I have a new phone and no longer get my two-factor codes. What can I do?
? My old phone is gone, and my sign-in codes with it. How do I log in?
? How do I move the two-factor codes to another phone?
+ Use one of the 8 backup codes you saved at set-up, then add the new phone under Security.
+ Choose "Other method" below the code field, have us call your landline, and register the new phone afterwards.
+ On a computer where you are signed in, open Security and scan the QR code with the new phone.
+ Send us a photo of your ID through the secure form; we clear the codes within 4 hours, and you add the new phone.
& Set the clock of the phone to automatic, or the codes will be wrong.
& Each backup code works once.
& Print a new set of backup codes right after you are in.
& Texts from us come from the sender BRACKEN.
- Security is never finished, and a second factor is only one piece of a much larger puzzle.
- Codes may be late, or missing, or fine, and there can be all sorts of explanations for that.
- New phones bring a certain amount of adjustment, which generally settles down.
- I am afraid that sign-in matters are a delicate subject on which we tread carefully.
- Keep the phone charged, the sound on and the app open, and then see what the day brings.
- The "Codes" article in the help centre was read 900 times last week; do have a look at it.

battery life / battery life
? The battery of my phone is empty by noon. What can I do?
? How do I make the battery last longer?
? My phone does not get through the day any more. Is there a fix?
+ Turn on Saver under Battery and lower the screen to 60 Hz; that gives about five hours more.
+ Open Battery, look at the top three apps in the list and stop them from running in the background.
+ Restart the phone, install version 4.2 and switch off "Always-on display".
+ Check "Battery health" in the settings: below 80 percent we fit a new cell for 39 pounds.
& Charge it to 80 percent overnight rather than full.
& A new cell takes half an hour in any of our shops.
& Bluetooth search alone eats an eighth of the charge.
& Keep it out of a hot car, since heat ages the cell fastest.
- Batteries are a fascinating technology, and all of them have good days and bad days.
- How long a charge lasts is a rather personal matter that varies with habits.
- Our engineers are proud of this battery, which was praised a good deal when it came out in 2022.
- It is perhaps natural that things slow down somewhat with age.
- Watch the percentage in the top corner for a week and write down the numbers each evening.
- The battery holds 4500 mAh, and the cells are tested in the lab for 3 weeks.

fan noise / noise from a fan
? The fan of my laptop is very loud. How do I make it quieter?
? My laptop hums all the time. What can I do about the fan?
? Why is the fan so noisy, and how do I stop it?
+ Blow out the vents at the back with canned air and set Cooling to Quiet.
+ Put the laptop on a hard surface, clean the two vents below and restart it; the hum drops within ten minutes.
+ Press Fn and F5 to switch the fan to quiet mode.
+ Dust is the cause nine times out of ten: remove the 4 screws underneath, brush the grille and close it again.
& If it rattles, the bearing is worn and we replace it free of charge.
& Leave a gap of 5 cm to the wall.
& Quiet mode makes games about a tenth slower.
& Close browser tabs with video before you test it.
- Sound is experienced differently by everyone, and what is loud to one may be pleasant to another.
- Fans do make some noise, as it is in the nature of moving parts.
- Noise might come from inside, from outside or from somewhere in between.
- We are aware that laptops have been a subject of discussion among some of our customers.
- Listen to the fan in the morning and in the evening, and compare the sound in each room.
- The fan turns 45 blades of a special plastic, and the motor was tested in the lab for 2 years.

roaming / roaming
? What does it cost to use my phone abroad?
? Is roaming included in my plan?
? I am going to Spain next week. Can I use my data there?
+ In the EU you pay nothing extra up to 15 GB a month; after that it is 2 pounds per GB.
+ Spain and all other EU countries are included in every plan; just turn on "Data roaming" before you board.
+ Calls, texts and data in the EU are free on every plan; elsewhere, book the travel pass for 6 pounds a day.
+ Switch on "Data roaming" in the settings; within Europe your normal allowance applies.
& Ships and planes are not included, so use flight mode there.
& We send a text at 80 percent of the allowance.
& The travel pass for other countries runs for 24 hours from the first use.
& For Switzerland, add the Alpine option in the app.
- Travelling is one of the great pleasures in life, and we hope you have a lovely time.
- Roaming is governed by many agreements, and these are constantly being reviewed.
- Costs abroad can be anything from modest to considerable, depending on a variety of factors.
- Prices have been a topic in the press since 2017, and a lot has been written about them.
- Pack the charger, check the socket type and read the travel tips on page 6 of our magazine.
- The "Abroad" page lists 140 countries by region, with a small map at the top.

gift cards / gift cards
? How do I use a gift card?
? Where do I enter the code of my gift card?
? How do I pay with the gift card I was given?
+ Scratch the back, type the 16 digits into "Gift card" at checkout and pay the rest by bank card.
+ At checkout, open "Gift card", enter the code and press Apply; any rest is charged to your other card.
+ Type the code into the field below the total on the payment page, then choose a second way to pay the remainder.
+ Enter the number under Account and Balance once; it is used for your next orders by itself.
& The balance lasts five years.
& You can use up to 4 cards for one order.
& Cards cannot pay for mobile plans.
& Refunds go back to the same gift card.
- A gift card is such a thoughtful present, and somebody clearly thought of you.
- Cards come in many designs and amounts, and each works in its own way.
- There are occasions where a card is accepted and others where it is less straightforward.
- How one chooses to spend a present is of course entirely a private matter.
- The card in your hand is made of recycled paper, and the print on the back comes in 5 colours.
- Look at the front of the card, then at the back, and keep it in a safe place.

return label / return labels
? Where do I get a return label?
? How do I send something back?
? I want to return my order. What are the steps?
+ Open "My orders", press Return and print the label, or show the QR code at any post office.
+ Choose Return next to the item, pick a reason and stick the printed label over the old one.
+ Take the parcel to a post office with the QR code from "My orders", and they print the label for free.
+ Request it in "My orders"; the label arrives by email in under a minute and is valid for 30 days.
& Use the original box if you still have it.
& Keep the receipt until the money is back.
& Our driver collects items above 20 kg from your home.
& You have one month from delivery to send it in.
- Returns are part of shopping online, and we would never hold one against anybody.
- It is always a pity when something is not quite right, whatever the reason may be.
- Labels have been known to cause confusion, partly because there are so many kinds.
- Our returns policy was reworked in 2020 with fairness to everyone in mind.
- The returns hall is next to the main warehouse and handles 2000 parcels a week.
- Think about whether the item could be of use after all, for you or for a friend.

wrong item / wrong items in a parcel
? You sent me the wrong item. What happens now?
? I received a case for another phone. How do I get the right one?
? The parcel has something I did not order. What should I do?
+ Send us a photo of the item and we post the right one today by express.
+ Press "Wrong item" under the order; the right one leaves our warehouse today and the courier takes the other back.
+ Reply with the number on the packing slip, keep the item in its bag and hand it to the courier on delivery.
+ Report it in "My orders" before 3 pm and the correct product is at your door tomorrow.
& You need not print or pay anything.
& If the wrong one is worth less than 10 pounds, keep it.
& Leave the seal closed if you can.
& Should ours be sold out, you get your money back the same day.
- Mix-ups can occur even in the best of warehouses, where people are only human.
- I am so very sorry, and I honestly cannot imagine how disappointed you must be.
- Sometimes an item that seems wrong turns out to be a pleasant surprise.
- With 3000 products on the shelves, a certain amount of variation is perhaps to be expected.
- Take the item out of the box, try it for 2 or 3 days and see whether you like it.
- The packing line was rebuilt in June; the new scanners read the labels from all sides.

discount code / discount codes
? My discount code does not work. Why?
? The shop rejects my voucher code. What is wrong?
? How do I get my promo code accepted?
+ Type the code in capitals without spaces; codes starting with NEW only work on a first order.
+ Make sure the basket is above 40 pounds and holds no sale items, then enter it again.
+ Remove reduced items from your basket, since codes apply to full prices only, and press Apply once more.
+ Look at the date below the code in our email: it stops at midnight on that day.
& One code per order is the limit.
& Send us the code and we check it on the spot.
& If the code ran out yesterday, we give you a new one for the same amount.
& The app needs version 7 or later to show the field.
- Codes are a lovely way to save, and we are delighted that you are interested in our offers.
- Promotions have conditions, and conditions can be understood in more than one way.
- A code that is not accepted today might well be accepted on another occasion.
- Vouchers are handled by a system which, like all systems, has its moods.
- Sign up for the newsletter, follow us on social media and watch for the next code.
- The "Offers" page has a list of what we plan for the summer; the first 3 entries are the best.

payment card / changing a payment card
? My bank sent me a new card. How do I change it on my account?
? How can I update the card you charge?
? Where do I enter another payment card?
+ Go to Account, open Payment, add the new card and delete the old one.
+ Add the card under Payment and tick "Use for everything"; we test it with a charge of 1 penny.
+ Tap your picture in the app, then Payment and "Add card", and scan the front with the camera.
+ Open the link in our last bill and replace the card there, which takes two minutes.
& Your bank asks you to confirm in its own app.
& Do it before the 25th and the next bill is taken from the new card.
& We accept Visa, Mastercard and Amex.
& Never send card numbers by email or chat.
- Cards come and go, and it is wise that you are giving the matter some thought.
- Payments involve a number of parties, so we would not wish to speak for the others.
- Your bank may or may not have told us something, which can sometimes be the case.
- Safe payment is a priority for us and for our partners in 12 countries.
- Turn the card over, look at the date and sign the strip on the back if the bank asks for it.
- The "Payment" team sits in our Leeds office and checks 700 cards on a normal day.

delivery cost / delivery costs
? How much is delivery?
? What do you charge for shipping?
? Is there free delivery, and from what amount?
+ Standard delivery costs 3.90 pounds and is free from 50 pounds upwards.
+ You pay 3.90 pounds for standard and 9 for next-day delivery; the fee is shown in the basket before you pay.
+ Shipping is free once the basket holds 50 pounds or more, and collection from a shop never costs anything.
+ Spend 50 pounds and it is free; below that we add 3.90 pounds per order, however many parcels it takes.
& Islands cost four pounds more.
& Express must be ordered before 2 pm.
& Members of our club pay nothing at all.
& Large appliances are carried to the room of your choice for 25 pounds.
- Delivery is a service with many aspects, and cost is merely one of them.
- Fees are worked out in a way that aims to be reasonable for all concerned.
- Shipping has become more expensive in recent years, as you may have read.
- What one person finds costly, another might regard as rather good value.
- The fees are set by the board in spring; the list on the site has 2 pages.
- Put the item in the basket, take it out again and compare how you feel about the total.

pick-up point / pick-up points
? How do I collect a parcel from a pick-up point?
? What do I need to pick up my order?
? How long is my parcel kept at the pick-up point?
+ Bring the 6-digit code from our text message and your ID; the parcel is kept for 10 days.
+ Show the code from our email at the counter within ten days and have a photo ID ready.
+ Wait for the text Ready, then go there with your ID and the code before the tenth day.
+ Parcels wait for 10 days; at a locker, type the code on the screen and the right door opens.
& A friend can collect it with the code and a copy of your ID.
& Uncollected parcels return to us and we refund the full price.
& The map in the app shows opening hours.
& You can extend the time once by three days.
- Pick-up points are run by local shops, which do things in their own charming way.
- Collecting a parcel is normally quite easy, although experiences vary.
- I am afraid the time a parcel spends somewhere is not an exact science.
- There are over 900 points on our map, and we are thankful to each of them.
- Take a walk to the shop, ask the person at the counter and bring some time with you.
- The "Points" map was drawn in 2022, with the streets in grey and the parks in green.

sim activation / activating a SIM card
? How do I activate my new SIM card?
? My new SIM shows no network. How do I switch it on?
? The SIM card arrived today. What do I do next?
+ Open the app, tap "Activate SIM", scan the barcode on the card and restart the phone.
+ Go to our page SIM, enter the 19 digits printed on the card and wait for a text within 15 minutes.
+ Put the card in, turn the phone on and dial 4040; a voice confirms when it is live.
+ Insert it, restart the phone and enter the PIN from the letter; the network shows up in ten minutes.
& Three wrong PINs lock the card, and the PUK is on the same letter.
& Keep the old card in until its signal goes.
& If it still says "No service" after an hour, reset the network settings.
& The cut-out fits all three sizes.
- A new SIM card is a fresh start, and we are thrilled to welcome you to our network.
- Networks are complicated things, and a lot goes on behind the scenes.
- Cards usually come to life at some stage, though it is not easy to predict.
- Signal is influenced by buildings, weather and a good many other circumstances.
- Leave the card on the table, read the letter once more and wait for the right moment.
- The card holds 128 KB of memory, and the gold contacts are a tenth of a millimetre thick.

keeping a number / keeping a phone number
? Can I keep my phone number when I switch to you?
? How do I bring my old number to Brackenfold?
? How do I move my number over to you?
+ Text PAC to 65075, enter the code you get in our app, and the number moves the next working day.
+ Ask your old provider for the transfer code and type it into "Bring my number"; it takes one working day.
+ Order the plan, choose "Bring my number" and paste the code from your old network before it is 30 days old.
+ Give us the transfer code by 6 pm and your number works here from the following morning.
& Do not cancel the old contract yourself; it ends with the move.
& Expect up to two hours without signal.
& Your old and new account must have the same name.
& We charge nothing for the transfer.
- A phone number is like an old friend, and it is touching how attached people become to theirs.
- Transfers are a matter between providers, who generally try to get along.
- In theory a good deal is possible these days, and in practice it often is too.
- Numbers have been moving between networks since 1999, with mixed impressions.
- Write the number down, tell your friends about the switch and open the app now and then.
- The "Numbers" desk answers the phone from 9 to 12; the queue is shorter on some days.

speaker wifi / connecting a speaker to Wi-Fi
? My speaker does not connect to the Wi-Fi. What can I try?
? How do I get the speaker onto my new router?
? The speaker says "no network". How do I fix that?
+ Hold the dot button for 8 seconds until the light turns orange, then add the speaker again in the app.
+ Switch your router to 2.4 GHz, restart the speaker and pick the network in the app.
+ Unplug it for a minute, plug it in again and choose "New network" under Speakers.
+ Open Speakers in the app, tap the grey one, select "New network" and type the Wi-Fi password.
& A network name with an emoji is not recognised.
& Place it within three metres of the router for the first set-up.
& White light means it is online.
& Turn off any VPN on the phone until the set-up is finished.
- Wireless connections are invisible, which makes them somewhat mysterious at times.
- Routers and speakers do not always see eye to eye, and either of them might be at fault.
- Music brings people together, and we are glad that you chose our speaker for your home.
- It is possible that the network is having one of its days.
- Move the speaker to the kitchen, then to the hall, and enjoy the sound in each of the rooms.
- The speaker has 3 drivers, and the light on the top can show 16 colours.

factory reset / a factory reset
? How do I reset my tablet to factory settings?
? I want to sell my tablet. How do I erase it?
? How can I wipe everything from the tablet?
+ Go to Settings, System and "Erase all", and confirm with your PIN; it takes ten minutes.
+ Turn it off, hold power and volume up for 10 seconds and choose Erase in the menu.
+ Sign out of your account first, then press "Erase all" under System.
+ Plug it into the charger, open System in the settings, tap "Erase all" and leave it for 10 minutes.
& Copy your photos first, as nothing can be brought back.
& Take out the memory card, which is not erased.
& Remove it from "My devices" too, or the buyer cannot sign in.
& It is done when the language screen appears.
- Starting afresh can feel liberating, and it can also be a step one later regrets.
- Resets mean different things to different people, so it is worth being careful with the word.
- Tablets hold so many memories that we hesitate to recommend anything at all.
- There is a good deal to consider, and some of it may not apply to you.
- Open the settings, read through all the menus and note down what catches your eye.
- The tablet left the factory with 32 apps, and the list is printed on the side of the box.

cracked screen / cracked screens
? My phone screen is cracked. Where can I have it repaired?
? How do I get a broken screen repaired?
? I dropped my phone and the glass broke. Can you fix it?
+ A new screen costs 89 pounds; book a slot in the app and it is done in 90 minutes.
+ We fix it for 89 pounds: order the repair box online, put the phone in and get it back in four working days.
+ Bring it to any of our shops, where the glass is replaced while you wait, usually in an hour and a half.
+ Book "Screen repair" online and post the phone in our padded box, which is free both ways.
& With the care plan you pay 19 pounds.
& Back up your data before you hand it over.
& We guarantee the new glass for a year.
& Put clear tape over the crack in the meantime.
- Accidents will happen, and the main thing is surely that nobody was hurt.
- Glass is a beautiful material, but it does have a tendency to break now and then.
- Repairs can be worthwhile in some cases and less so in others.
- I was so sorry to read about your phone, and I hope the shock has worn off a little.
- Clean the glass with a soft cloth, put the phone in the case and see how you get on.
- The screen measures 6 inches, and the glass is the same as on the model before.

pairing headphones / pairing headphones
? How do I pair my headphones with my phone?
? My headphones do not show up in Bluetooth. What should I do?
? How do I connect the headphones to a second device?
+ Hold both buttons for 5 seconds until the light flashes blue, then select "BF Air" on the device.
+ Put the headphones in the case, press the button on the back for five seconds and tap "BF Air" in the list.
+ Press and hold the left earcup until you hear Pairing, and pick the name in your Bluetooth settings.
+ Charge the headphones for ten minutes, hold the button until it blinks, and choose "BF Air" from the list.
& The headphones remember 4 devices and switch by themselves.
& Delete the old entry first if it was paired before.
& Stay within one metre while pairing.
& A red light means the charge is too low.
- Bluetooth has come a long way, although it still has its little secrets.
- Headphones and phones usually find each other if they are meant to.
- Connections of this sort rely on a number of standards, and those are open to interpretation.
- Listening is a very personal experience, and we are honoured to be part of yours.
- Put the headphones on, find a good fit and turn the volume to the level you like.
- The "Sound" page in the app offers 7 presets, and the one for jazz is the most popular.

stuck update / software updates
? The update is stuck at half. What should I do?
? My phone does not finish the software update. How do I get it to install?
? How do I restart an update that hangs?
+ Hold the power button for 15 seconds, let the phone restart and start the update again on Wi-Fi.
+ Free 6 GB of space, plug in the charger and press Update once more.
+ Force a restart with power and volume down, then delete the download under Updates and fetch it again.
+ Connect it to a computer, open our Updater program and click Repair; it needs 20 minutes and keeps your files.
& Do not switch it off while the bar is moving.
& The battery has to be above half.
& Version 5.1 is the one you need; skip 5.0.
& If the logo stays for an hour, bring it in and we install it for nothing.
- Updates are released with the best of intentions and after a great deal of testing.
- Progress bars are only a rough indication, and one should not read too much into them.
- Software is never truly finished, as people in the trade like to say.
- Some of the 2 million phones out there update smoothly, while others take a different path.
- Leave the phone on the table for the weekend and check the bar on Monday.
- The "News" page lists the 60 changes in the update; the new emoji come first.

student discount / student discounts
? Do you have a student discount?
? I am a student. How do I get a lower price?
? How much do students save, and what proof do you need?
+ Students get 12 percent off: upload your student card on the Campus page and the price drops at once.
+ Sign up on Campus with your university email address as proof, and 12 percent comes off every price.
+ Register with your university email on Campus, confirm the link and save 12 percent on everything but phones.
+ Send a photo of your student card through the Campus form, and we approve it the same day.
& The discount is renewed every September.
& Apprentices and teachers qualify as well.
& In shops, show the card at the till.
& You can order 3 devices a year at that price.
- Education is so valuable, and we have the greatest respect for anyone who is studying.
- Discounts come and go, and whether one applies can depend on quite a few conditions.
- Young people are the future, and their needs are often discussed in our meetings.
- Prices are already set at a level which many find attractive.
- Look at the front page of the shop every Monday and compare the prices there with the week before.
- The "Campus" team visits 20 universities a year; come to the stand for a chat.

family plan / family plans
? How do I add my daughter to my plan?
? Can my family share one plan?
? How do I add another person to the family plan?
+ Open Family in the app, press Invite and enter her phone number; each extra person costs 7 pounds a month.
+ Up to 5 people can share: tap Family, then Invite, and they accept by text.
+ Send an invitation from Family in the app; once it is accepted, the line is added at midnight.
+ Tap Invite under Family and choose a new SIM card or an existing number.
& Children under 13 need your consent in the app.
& Everyone draws on the same 60 GB.
& You get one bill for all lines.
& A member can be removed at the end of each month.
- Families are all different, and that is what makes them so wonderful.
- Sharing is a lovely idea, and there may be several ways of thinking about it.
- It would depend on who is who, and on how the plan came about in the first place.
- We are hearing more and more interest in this, which is encouraging.
- Sit down with the whole family, open the app on the sofa and talk about the plan.
- The "Family" advert was filmed in 3 days at the home of one of our designers.

deleting an account / deleting an account
? How do I delete my account?
? Please remove my account. What do I need to do?
? Can I close my account and have my data erased?
+ Choose "Close account" at the bottom of Privacy, enter your password and confirm by email.
+ Press "Close account" under Privacy; everything is erased after 14 days.
+ Write from your registered email address to this desk with the word "close", and we erase it within 2 weeks.
+ Sign in on the website, scroll to the end of Privacy, press "Close account" and click the link we send.
& You can undo it for 14 days by signing in.
& Invoices are kept for six years, as the law demands.
& Use up your gift balance first, because it is lost.
& Running plans must be ended first.
- It saddens us that you are thinking about this, and we wonder whether something went wrong.
- An account has many connections to other things, so it is rarely as simple as it sounds.
- Privacy is a value that we hold dear, now and in the years to come.
- People who leave often come back, which tells us a lot about the bond we share.
- Sign in, look at the orders of the past 5 years and think it over in peace.
- Take a break from the app for a month, then open it again and see how you feel.

newsletter / our newsletter
? How do I stop the newsletter?
? I get too many emails from you. How do I unsubscribe?
? Please take me off your mailing list. How is that done?
+ Click Unsubscribe at the foot of any issue, and it takes effect within 24 hours.
+ Open Account, then Messages, and switch off everything except order emails.
+ Reply with "stop" to the last issue and we remove your address the same day.
+ Turn the News switch off under Messages in the app, and no further issue is sent.
& Order and bill emails still reach you.
& One more issue may be on its way already.
& If you have two addresses with us, do it for both.
& The text messages end with STOP sent to 62442.
- Our newsletter is put together with love, and 40000 readers seem to enjoy it.
- Emails are sent for a range of reasons, some of which are not immediately apparent.
- We are sorry if you have felt overwhelmed, as that was never the idea.
- Staying informed has its merits, and quite a few customers tell us so.
- Open the next issue, scroll to page 2 and read the interview with the head of design.
- The "Friday" issue is sent at 7 in the morning; the tips in it save money.

voicemail / voicemail
? How do I set up voicemail?
? How do I switch on voicemail and record a greeting?
? I would like to use voicemail. Where do I start?
+ Dial 121 from your mobile, choose a 4-digit PIN and record a greeting after the tone.
+ Call 121 and follow the voice: press 1 for messages, 2 for the greeting.
+ Open the phone app, hold down the 1 key and speak your greeting when the voice asks for it.
+ Tap Voicemail in our app to hear messages, record a greeting or switch the service off.
& Messages are kept for thirty days.
& Calls to voicemail are free within the country.
& From abroad, use your own number and press the star key.
& Voicemail picks up after 20 seconds.
- Voicemail is something of a classic, and many of us have fond memories of it.
- Messages might be waiting, or there may be none, which is not always easy to know.
- Some prefer to be reached in other ways, and that is perfectly understandable.
- The service can be arranged to suit all kinds of needs, within certain limits.
- Ask your friends to call you in the evening, or call them from the number they know.
- The service runs on 12 servers, and the voice was recorded in our own studio.

data allowance / the data allowance
? I have used up my data for the month. What happens now?
? How do I get more data this month?
? My mobile internet has become very slow. How do I speed it up again?
+ Text MORE to 4040 and you have 5 GB extra in a minute for 4 pounds.
+ Your speed drops to 1 Mbit until the first of the month; buy 5 GB in the app to lift that at once.
+ Open the app, press "Top up" and choose a pack; it is active before you close the screen.
+ Buy a pack under "Top up", or wait for the first of the month, when the full allowance starts again.
& Unused packs move to the next month.
& Two packs a month cost as much as the larger plan.
& Video in low quality uses a third of the data.
& The app shows which days were heaviest.
- Data has a way of disappearing, and no two months are ever quite alike.
- Speed is a relative notion that may be felt in different ways.
- Allowances are designed around typical use, whatever that means for you.
- We appreciate that staying online is part of everyday life for our 600000 customers.
- Check the counter in the app in the morning and at night, and compare it with last month.
- The network counts 18000 masts, and the one near you was checked this spring.

cloud storage / cloud storage
? My cloud storage is full. What can I do?
? How do I get more space in the cloud?
? The app says there is no storage left. How do I free some?
+ Empty the bin under Files first; deleted items count until you do.
+ Tap Storage and choose 200 GB for 2.50 pounds a month; the space is there at once.
+ Open Storage, sort by size and delete the largest videos, then empty the bin.
+ Press "Clean up" under Storage: it finds double photos and usually frees a tenth of the space.
& Nothing is deleted for 60 days after the limit is reached.
& You can go back to the smaller size at any month's end.
& Shared albums count for the owner only.
& Old phone backups are often the biggest part.
- Storage seems to fill up for all of us, and it is a sign of a rich digital life.
- Space in the cloud is a concept that can be approached from various angles.
- There is probably something in there that could be looked at, if one had the time.
- We are constantly thinking about storage, and exciting things might be ahead.
- Open the "Files" page, look at the oldest photo and then at the newest one.
- The price list for the cloud is on the site; the table has 6 rows and a note at the end.

purifier filter / purifier filters
? How do I change the filter of my air purifier?
? The red filter light is on. What should I do?
? How do I put a new filter into the purifier?
+ Replace the filter every 12 months: pull off the front, slide the old one out and push the new one in.
+ Unplug it, open the front, swap the filter and hold Reset for 3 seconds until the red light goes out.
+ Turn the lower ring to the left, lift the filter out and put in the new one with the arrow pointing up.
+ Order type F2 for 24 pounds, open the front and swap it; the red light goes out once you hold Reset.
& Vacuum the outer mesh once a month.
& Take the plastic wrap off first.
& The old filter goes in the household waste.
& With pets, count on eight months instead.
- Clean air is such a gift, and it is good to know that you value it.
- Filters have a lifetime that may be longer or shorter than one might think.
- Lights on our devices are meant as a friendly suggestion more than anything else.
- How a purifier is cared for tends to be a matter of taste and habit.
- The light on the front shows 3 colours, which were chosen by the design team in Oslo.
- Put the purifier by the window, open the door and watch the number on the display.

ear tips / spare ear tips
? I lost an ear tip. Where do I get a new one?
? Can I buy spare ear tips for my earbuds?
? Which ear tips fit my earbuds?
+ Order the set T3 in our shop for 6 pounds; it holds three sizes and fits all earbuds made after 2020.
+ Search for T3 in the shop, the set for all our earbuds, or ask at any counter for a free pair.
+ Type the model number from inside the case lid into "Spare parts" and the right tips are shown.
+ Write us the model and size and we put one pair in the post today, free of charge.
& The tips arrive in a normal letter after two days.
& Push until it clicks, with the oval side facing down.
& Foam tips cost 9 pounds and keep out more noise.
& Wash the old ones in warm water without soap.
- Small things do get lost so easily, and it happens to the most careful among us.
- Ears come in all shapes, which is why comfort is such a broad subject.
- Spare parts may be around somewhere, though it is never certain for how long.
- We put a great deal of thought into every detail of our earbuds, down to the smallest.
- Check the pockets of your coat, the sofa and the floor of the car once more.
- The box they came in has 5 layers of card, and the lid closes with a magnet.

missing charger / chargers missing from a box
? There was no charger in the box. Can you send one?
? My phone came without a charger. Is that right?
? The charger is missing from my order. What do I do?
+ Phones since 2023 come with a cable only; any USB-C charger with 30 watts will do.
+ Check the packing slip: if a charger is listed, reply with a photo of it and we send one today.
+ The box holds just the cable since 2023; add the 30-watt charger for 15 pounds in the app.
+ Look under the paper tray; if the slip lists one and it is not there, we post it by express for free.
& Your old laptop charger works as well.
& Tell us within two weeks of delivery.
& With 30 watts it is full in an hour.
& Our shops have them at the counter, no appointment needed.
- Boxes are packed in line with our ideas about packaging, which continue to evolve.
- Whether a charger belongs in a box is a question that has kept many people busy.
- I can only say how sorry I am that the moment of opening it was spoiled for you.
- Contents may differ from what is shown, expected or remembered.
- Take all the parts out of the box, lay them on the table and count them once or twice.
- The box is 40 percent smaller than the last one, which saves 2 lorries a week.

double charge / double charges
? I was charged twice for one order. How do I get the money back?
? I see two payments for the same order on my card. What now?
? My card shows the amount twice. What should I do?
+ One of the two is only a hold, and your bank drops it within 3 working days.
+ Look at the word next to it: "pending" goes away by itself in three days, "booked" we refund today.
+ Send us the last 4 digits of the card and both dates; we return the second amount today.
+ Wait three working days; if both are still there, reply with a screenshot and we pay one back by the evening.
& This happens when the pay button is pressed twice.
& Do not ask the bank to reverse it, as that blocks the order.
& The order itself was placed once, so only one parcel comes.
& You get an email with the refund number.
- Statements can look confusing at first, and there is often more to them than meets the eye.
- Two amounts may be two things, or one thing seen twice, if you see what I mean.
- Charges pass through several systems, and each tells its own story.
- We fully appreciate that this comes as an unpleasant surprise, and we regret how it must look.
- Open the bank app, look at both lines and read the small print below the amounts.
- The "Payments" system was moved to a new server on 8 April, and the team is proud of it.

delivery date / changing a delivery date
? I am away on the delivery day. Can I choose another date?
? How do I change the delivery date of my order?
? Can you deliver my order next week instead?
+ Open the tracking link, press "Other day" and pick any day in the next two weeks.
+ Up to 8 pm the evening before, tap the order in the app and choose "Other day".
+ Choose "Leave with a neighbour" or "Other day" on the tracking page before eight in the evening.
+ Tell us the day you want, up to 14 days ahead, and we book it with the carrier right now.
& The change is free the first time.
& Saturday mornings can be chosen too.
& You get a new time slot of two hours by text.
& Once it is on the van, only a pick-up point nearby is left.
- Dates are a challenge for everyone, with busy lives on both sides of the door.
- Plans do change, and drivers as well as customers have to live with that.
- Flexibility is one of our values, and we try to bring it to life where possible.
- Next week may bring new options, although it is a little early to speak of them.
- Write the day in the calendar, talk to the people in the house and see who is free.
- The vans leave the depot at 6 in the morning; each has 2 phones on board.

trade-in / trading in a phone
? How do I turn my old phone into money off a new one?
? How does the trade-in work?
? Can I hand in my old phone when I buy a new one?
+ Enter the model on our "Trade-in" page, post the phone in our free bag and get the money in 7 days.
+ Bring it to any shop, where staff check it in ten minutes and take the value off the new price.
+ Answer five questions on the "Trade-in" page and you see the price at once, up to 310 pounds.
+ Choose "Trade in" when you order; the courier brings the new phone and takes the old one along.
& Sign out and erase it first.
& The price is held for two weeks.
& Cracked glass takes about a third off.
& If we offer less after checking, you can have it back free of charge.
- Old phones have served us well, and each has a worth that goes beyond money.
- Values rise and fall, so any figure might be misleading by tomorrow.
- Trade-in is one of several ideas in a wider effort that we are pleased to support.
- It would very much depend on the phone, its past, and how one chooses to see it.
- Take the old phone out of the drawer, charge it and look at the photos on it.
- The "Trade-in" page won a prize in 2021 for the drawing at the top.

language setting / language settings
? My device is in the wrong language. How do I change it?
? How do I switch the menu to English?
? The thermometer speaks German to me. How do I set it to English?
+ Hold the menu button for 4 seconds, press down twice and select English.
+ Open the app, tap the device, then the globe sign, and pick your language.
+ Press the gear sign, choose the third line, which is always the language, and select English from the list.
+ Go to the gear sign on the screen, open the line with the little flag and choose English.
& The device restarts once, which takes 20 seconds.
& There are fourteen languages in all.
& The voice has its own setting just below.
& If the list is missing, update the app first.
- Languages are a wonderful thing, and our devices speak quite a number of them.
- Settings of that kind can be found in different places on different models.
- It may be an opportunity to pick up a few new words along the way.
- Menus were designed with an international audience in mind, for better or worse.
- Press the buttons in any order, watch the screen and note the words you know.
- The manual comes in 9 languages, and the pictures on page 2 are the same in all of them.

vat number / VAT numbers on orders
? How do I get my VAT number onto the invoice?
? I order for my company. Where do I enter the VAT number?
? Can you add our VAT number to an order?
+ Enter the number under Account and Company before you pay; it is printed on each invoice.
+ Reply with the order number and the VAT number; the corrected invoice is in your inbox in an hour.
+ Tick "I buy for a company" at checkout and type the number with its two country letters.
+ Switch the account to Company in the settings, save the VAT number, and download the invoice again.
& We can correct invoices for up to 3 months.
& Companies outside the country are billed without tax.
& The check of the number takes ten seconds.
& Your cost centre fits in the line below.
- Tax is a serious subject, and nobody here would want to get it wrong for you.
- Companies have requirements that differ from those of private customers in many respects.
- Numbers of this type might appear on some documents and not on others.
- We value our 5000 business customers and everything they bring to us.
- Ask the tax office, the chamber of trade or the person who does your books.
- The "Company" page in our shop was opened in 2018, with 4 sections.

water damage / water damage
? My phone fell into water. What should I do?
? Water got into my headset. Can it be saved?
? My tablet got wet and will not start. What now?
+ Switch it off, wipe it dry and leave it upright in a warm, airy room for 48 hours before you try again.
+ Do not charge it; take off the case, shake the water out of the port and let it dry for two days.
+ Turn it off at once, dry it with a towel and send it in: cleaning costs 35 pounds.
+ Keep it off for two full days, then charge it for an hour and press the power button.
& Rice does not help and leaves dust in the port.
& No hairdryer, since heat loosens the seals.
& After salt water, rinse it briefly under the tap first.
& With the care plan we swap it within 24 hours.
- Water is everywhere in our lives, so encounters of this kind are bound to happen.
- Some devices get over it and some do not, and there is rarely a clear pattern.
- I am terribly sorry, as losing touch with a device one loves can be upsetting.
- Moisture behaves in unpredictable ways, and it would be rash to draw conclusions.
- Hold the device up to the light, turn it over and look for drops behind the glass.
- The lab tests each model in a tank of 200 litres, and the report is on the site.
"""
