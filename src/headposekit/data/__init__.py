"""What all data sets share: reader, DataModule, splits, augmentation and packs."""
