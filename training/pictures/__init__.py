"""Images: reading, preparing and laying out. Read photos first.

reading photos of any common format to upright 8-bit sRGB
photos  named photos in folders; images to tensors and back
repeats finds duplicate images
buckets the shapes of aspect ratio bucketing
masks   where the person is in a photo
sheet   labelled contact sheets, and marked faces
chart   a small line and bar chart
"""
