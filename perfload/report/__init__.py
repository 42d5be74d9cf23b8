"""A run as text: the HTML report and the terminal's verdict. Data in, text out: nothing prints or exits."""
