"""Reports set as PDF, as pictures of pages and as HTML, and the index of results that opens without a daemon."""
