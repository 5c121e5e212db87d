UPDATE attempts SET masked = 2 WHERE attempt = 1;
