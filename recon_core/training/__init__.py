"""From folders of images and scans to model packages. The one part of recon_core that reads files."""
