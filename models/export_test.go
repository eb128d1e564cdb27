package models

// InParts has files sent, and copied by S3, in parts of so many bytes where the number
// of parts allows it.
func (s *Store) InParts(size int64) { s.part, s.copied = size, size }
