package models

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// packed is an archive of one file, plain and compressed.
func packed(f *testing.F, name, text string) [][]byte {
	f.Helper()
	var plain, zipped, standard bytes.Buffer
	w := tar.NewWriter(&plain)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})
	_, written := io.WriteString(w, text)
	z := gzip.NewWriter(&zipped)
	s, made := zstd.NewWriter(&standard)
	if err := errors.Join(err, written, w.Close(), made); err != nil {
		f.Fatal(err)
	}
	_, first := z.Write(plain.Bytes())
	_, second := s.Write(plain.Bytes())
	if err := errors.Join(first, second, z.Close(), s.Close()); err != nil {
		f.Fatal(err)
	}
	return [][]byte{plain.Bytes(), zipped.Bytes(), standard.Bytes()}
}

// FuzzArchive: of any bytes, what is visited has a name that stays in the checkpoint's
// folder and as many bytes as it says; what is read to its end without a fault has the
// digest of its bytes, and is what archive/tar reads of it.
func FuzzArchive(f *testing.F) {
	for _, name := range []string{"config.json", "a/b", "../a", Marker, "a\\b", strings.Repeat("n", 200)} {
		for _, body := range packed(f, name, "{}") {
			f.Add(body)
			f.Add(body[:len(body)-7])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		src := &source{path: "m.tar", size: -1, stream: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }}
		seen := map[string]int64{}
		digest, err := src.read(t.Context(), func(m archive.Member, r io.Reader) error {
			n, err := io.Copy(io.Discard, r)
			if err == nil && n != m.Size {
				t.Errorf("%q has %d bytes, and should have %d", m.Name, n, m.Size)
			}
			if clean := path.Clean("/" + m.Name); clean != "/"+m.Name || m.Name == Marker || strings.ContainsAny(m.Name, "\\\x00") {
				t.Errorf("%q is visited", m.Name)
			}
			seen[m.Name] = m.Size
			return err
		})
		if err != nil {
			var faults fault.Faults
			if !errors.As(err, &faults) {
				t.Errorf("no fault: %v", err)
			}
			return
		}
		if want := digestOf(sha256Of(body)); digest != want || len(seen) == 0 {
			t.Errorf("the digest is %s of %d files, want %s", digest, len(seen), want)
		}
		if archive.Of(body) != archive.None {
			return
		}
		for r := tar.NewReader(bytes.NewReader(body)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("archive/tar refuses it: %v", err)
			}
			if h.Typeflag != tar.TypeReg && h.Typeflag != 0 {
				continue
			}
			if size, ok := seen[path.Clean(h.Name)]; !ok || size != h.Size {
				t.Errorf("archive/tar has %q of %d bytes, here it has %d, %t", h.Name, h.Size, size, ok)
			}
			delete(seen, path.Clean(h.Name))
		}
		if len(seen) > 0 {
			t.Errorf("archive/tar does not have %v", seen)
		}
	})
}

func sha256Of(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:]
}

// told is a bucket that answers to each call with what it is told, by the call's kind.
type told struct {
	listing, uploads, record []byte
	meta                     http.Header // of each object
}

// Do implements [s3.HTTPClient].
func (b told) Do(r *http.Request) (*http.Response, error) {
	body, header := []byte{}, http.Header{}
	switch {
	case r.Method == http.MethodHead:
		header = b.meta.Clone()
	case r.URL.Query().Has("list-type"):
		body = b.listing
	case r.URL.Query().Has("uploads"):
		body = b.uploads
	default:
		body = b.record
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r}, nil
}

func (b told) store() *Store {
	client := s3.New(s3.Options{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""), HTTPClient: b, RetryMaxAttempts: 1})
	return &Store{S3: client, Clock: clock.Real{}, Bucket: "models"}
}

// listed is a listing of objects of some bytes, or of unfinished uploads.
func listed(root, element string, keys ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%s>", root)
	for _, key := range keys {
		fmt.Fprintf(&b, "<%s><Key>", element)
		// A buffer takes everything.
		_ = xml.EscapeText(&b, []byte(key))
		fmt.Fprintf(&b, "</Key><Size>3</Size><ETag>1</ETag><UploadId>u</UploadId><LastModified>2026-01-01T00:00:00Z</LastModified></%s>", element)
	}
	fmt.Fprintf(&b, "</%s>", root)
	return b.Bytes()
}

// FuzzListing: of the keys of any bucket, a source in S3 has only files with names that
// stay in a checkpoint's folder, each of the object of that name; and a list has only
// such checkpoints as can be named, or that are whole within one name.
func FuzzListing(f *testing.F) {
	for _, keys := range []string{"a", "a/b\nb", "../a", "/a", Marker, "a//b", "a/", ".", "a/.", "A\na", "\x1b[31m/x", "m/" + Marker, "x\u202e/y"} {
		f.Add(keys, "")
		f.Add("x", keys)
	}
	f.Fuzz(func(t *testing.T, objects, uploads string) {
		var keys, begun []string
		for _, key := range strings.Split(objects, "\n") {
			keys = append(keys, Prefix+key)
		}
		for _, key := range strings.Split(uploads, "\n") {
			begun = append(begun, Prefix+key)
		}
		s := told{listing: listed("ListBucketResult", "Contents", keys...), uploads: listed("ListMultipartUploadsResult", "Upload", begun...), meta: http.Header{}}.store()
		r := &remote{store: s, bucket: "staging", key: Prefix}
		seen := map[string]bool{}
		_, err := r.read(t.Context(), func(m archive.Member, in io.Reader) error {
			if from, is := in.(*fetched); !is || from.key != Prefix+m.Name || seen[m.Name] {
				t.Errorf("%q is visited as %+v", m.Name, in)
			}
			if path.Clean("/"+m.Name) != "/"+m.Name || m.Name == Marker {
				t.Errorf("%q is visited", m.Name)
			}
			seen[m.Name] = true
			return nil
		})
		var faults fault.Faults
		if err != nil && len(seen) > 0 || err != nil && !errors.As(err, &faults) && !broken(err) {
			t.Errorf("after %d files: %v", len(seen), err)
		}
		list, err := s.List(t.Context())
		if err != nil {
			if !broken(err) {
				t.Error(err)
			}
			return
		}
		for _, c := range list {
			if c.Name == "" || strings.Contains(c.Name, "/") || c.URI != s.uri(c.Name) || c.Files == 0 && !c.Complete && c.Uploads == 0 {
				t.Errorf("%+v", c)
			}
		}
	})
}

// broken tells that an answer is no XML.
func broken(err error) bool { return strings.Contains(err.Error(), "deserialization failed") }

// FuzzMarker: a marker of any metadata has one digest, or none, the same each time; of
// that digest it is. Any record is refused, or has the marker's digest to itself.
func FuzzMarker(f *testing.F) {
	sum := strings.Repeat("ab", 32)
	for _, v := range [][2]string{{sum, ""}, {"sha256:" + sum, strings.Repeat("cd", 32)}, {strings.ToUpper(sum), sum}, {" " + sum, "x"}, {"", ""}} {
		f.Add("sha256", v[0], "other", v[1], []byte("{}"))
		f.Add("tarball", v[0], "etag", v[1], []byte(`{"files":[{"name":"../a","size":-1}]}`))
		f.Add(metaRecord, v[0], metaListing, v[1], []byte("null"))
	}
	f.Fuzz(func(t *testing.T, key, value, other, second string, record []byte) {
		m := &mark{map[string]string{key: value, other: second}}
		digest := m.digest()
		for range 10 {
			if again := m.digest(); again != digest {
				t.Fatalf("%v has the digest %s and the digest %s", m.meta, digest, again)
			}
		}
		if digest != "" && (!m.of(digest) || len(digest) != len("sha256:")+64) {
			t.Errorf("%v has the digest %s, and is not of it", m.meta, digest)
		}
		if m.of("") {
			t.Errorf("%v is of nothing", m.meta)
		}
		named := &mark{map[string]string{metaRecord: fmt.Sprintf("%x", sha256Of(record))}}
		for _, m := range []*mark{m, named} {
			r, err := told{record: record}.store().record(t.Context(), "m", m)
			var refused *recordError
			if err != nil && !errors.As(err, &refused) || r != nil && m.meta[metaRecord] != named.meta[metaRecord] {
				t.Errorf("%v: %+v, %v", m.meta, r, err)
			}
			if r == nil {
				continue
			}
			header := http.Header{"X-Amz-Meta-Sha256": {sum}, "X-Amz-Meta-" + metaRecord: {m.meta[metaRecord]}}
			v, err := told{listing: listed("ListBucketResult", "Contents", folder("m")+Marker), uploads: []byte("<ListMultipartUploadsResult/>"), record: record, meta: header}.store().Verify(t.Context(), "m")
			if err == nil && v.Whole && len(r.Files) > 0 {
				t.Errorf("a checkpoint without files is whole by %q", record)
			}
		}
	})
}
