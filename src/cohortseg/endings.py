"""How the names of files end that are images, pictures or contours; in lower case."""

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
CONTOURS = (".csv",)
