package models

import (
	"bytes"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// Parts are as large as they must be for 10,000 of them to suffice, at least what
// S3 asks for, and never more than a push may hold.
func TestPartSizes(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]int64{
		0: least, 1: least, least: least, least * maxParts: least, least*maxParts + 1: least + piece, 170e9: 18 << 20, 200 << 30: 22 << 20, 781 << 30: Memory, Memory * maxParts: Memory, Memory*maxParts + 1: 0, 5 << 40: 0,
	} {
		got := partSize(size, least)
		if got != want || got > 0 && (got < 5<<20 || got > Memory || (size+got-1)/got > maxParts) {
			t.Errorf("a file of %d bytes has parts of %d, want %d", size, got, want)
		}
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	text := make([]byte, 2*piece+12345)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(text)
	j := job{body: [][]byte{text[:piece], text[piece : 2*piece], text[2*piece:]}, size: int64(len(text))}
	got, err := io.ReadAll(j.reader())
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
	}
	small := text[:1000]
	if err := iotest.TestReader(job{body: [][]byte{small}, size: 1000}.reader(), small); err != nil {
		t.Error(err)
	}
	r := j.reader()
	if at, err := r.Seek(-5, io.SeekEnd); err != nil || at != int64(len(text)-5) {
		t.Errorf("%d, %v", at, err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text[len(text)-5:]) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("it goes before its start")
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	text := make([]byte, 5000)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(text)
	for _, at := range []int{0, 1, 7, 2500, 4999, 5000} {
		first, second := crc64.Checksum(text[:at], table()), crc64.Checksum(text[at:], table())
		if got, want := join(first, second, int64(len(text)-at)), crc64.Checksum(text, table()); got != want {
			t.Errorf("joined at %d: %x, want %x", at, got, want)
		}
	}
	// https://reveng.sourceforge.io/crc-catalogue/all.htm#crc.cat.crc-64-nvme
	if got := crc64.Checksum([]byte("123456789"), table()); got != 0xae8b14860a799888 {
		t.Errorf("of the check string: %x", got)
	}
}

// No part of a copy that nobody goes on with is as large as the part of the same number
// of a file of the same size that is sent, or copied.
func TestApart(t *testing.T) {
	t.Parallel()
	cut := func(size, part, at int64) int64 { return max(min(part, size-at*part), 0) }
	compare := func(size, sent, copied int64) {
		t.Helper()
		n := apart(size, sent, copied)
		for at := int64(0); at*n < size && size > n; at++ {
			if got := cut(size, n, at); got == cut(size, sent, at) || got == cut(size, copied, at) {
				t.Errorf("of %d bytes in parts of %d, part %d has %d bytes as one has in parts of %d or %d", size, n, at+1, got, sent, copied)
			}
		}
	}
	for size := range int64(400) {
		for copied := int64(1); copied < 30; copied++ {
			for sent := int64(1); sent <= copied; sent++ {
				compare(size, sent, copied)
			}
		}
	}
	for _, size := range []int64{copied + 1 + least, 2*copied + 1, 170e9, Memory * maxParts} {
		compare(size, partSize(size, least), copySize(size, copied))
	}
}
