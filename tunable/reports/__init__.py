"""Tables, charts and pages that the commands leave behind."""
