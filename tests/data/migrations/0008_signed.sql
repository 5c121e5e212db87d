UPDATE sightings SET refused = 'it is not signed', runs = 0 WHERE number = (SELECT max(number) FROM sightings);
