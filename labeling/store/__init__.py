"""What was wanted, predicted and corrected: rows in a database, masks in a blob folder."""
