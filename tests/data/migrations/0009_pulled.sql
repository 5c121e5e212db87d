INSERT INTO pulled VALUES ('open-im', 'test', 'refs/pull/7/head', 3);
