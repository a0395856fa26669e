"""The engines that can move data. An engine is added by adding a folder here."""
