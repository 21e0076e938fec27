"""What people read and take away: words, figures, cards, HTML and PDF."""
