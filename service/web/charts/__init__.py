"""Line charts as SVG, computed here and drawn by templates/chart.html; no script, no numpy."""
