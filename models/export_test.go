package models

// CopyBy has S3 copy files in parts of so many bytes.
func (s *Store) CopyBy(part int64) { s.copied = part }
