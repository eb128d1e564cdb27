package models_test

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/objects"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/transfer"
)

const (
	mebi   = 1 << 20
	bucket = "models-123456789012"
)

// unwaited is a clock on which nobody waits.
type unwaited struct{ clock.Real }

func (unwaited) Sleep(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }

// call is a request as a server saw it.
type call struct {
	operation string
	key       string
	bytes     int64 // of the body, as read
	status    int   // 0 if the connection was cut
	// bucketKey is whether it asks for the bucket key.
	bucketKey bool
}

// way is the way to a server. It counts what goes there.
type way struct {
	next http.RoundTripper

	mu    sync.Mutex
	calls []call
	// before may answer, or cut the connection, in the server's stead; after may
	// cut it once the call was carried out. They may be nil.
	before func(c call) (*http.Response, error)
	after  func(c call) error
}

func operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Header.Get("X-Amz-Copy-Source") != "" && q.Has("partNumber"):
		return "UploadPartCopy"
	case r.Header.Get("X-Amz-Copy-Source") != "":
		return "CopyObject"
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "UploadPart"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "CompleteMultipartUpload"
	case r.Method == http.MethodPost && q.Has("delete"):
		return "DeleteObjects"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == http.MethodDelete:
		return "DeleteObject"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case q.Has("uploads"):
		return "ListMultipartUploads"
	case q.Has("uploadId"):
		return "ListParts"
	case q.Has("list-type"):
		return "ListObjectsV2"
	}
	return r.Method
}

func (c call) writes() bool {
	return !slices.Contains([]string{"HeadObject", "ListMultipartUploads", "ListParts", "ListObjectsV2", "GET"}, c.operation)
}

// served counts at the server's side of the wire: also what its client does not
// wait for any more.
type served struct {
	way  *way
	next http.Handler
}

type read struct {
	io.ReadCloser
	n *int64
}

func (r read) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	*r.n += int64(n)
	return n, err
}

// answered notes an answer's status.
type answered struct {
	http.ResponseWriter
	c *call
}

func (a answered) WriteHeader(status int) {
	a.c.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func callOf(r *http.Request) call {
	return call{
		operation: operation(r), key: strings.TrimPrefix(r.URL.Path, "/"+bucket+"/"), status: http.StatusOK,
		bucketKey: r.Header.Get("X-Amz-Server-Side-Encryption-Bucket-Key-Enabled") == "true",
	}
}

func (s served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := callOf(r)
	r.Body = read{r.Body, &c.bytes}
	s.next.ServeHTTP(answered{w, &c}, r)
	s.way.mu.Lock()
	defer s.way.mu.Unlock()
	s.way.calls = append(s.way.calls, c)
}

func (w *way) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callOf(r)
	w.mu.Lock()
	before, after := w.before, w.after
	w.mu.Unlock()
	if before != nil {
		if resp, err := before(c); resp != nil || err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			if resp != nil {
				resp.Request = r
			}
			return resp, err
		}
	}
	resp, err := w.next.RoundTrip(r)
	if after != nil && err == nil {
		if err := after(c); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	return resp, err
}

// take returns the calls since it was last called.
func (w *way) take() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.calls
	w.calls = nil
	return out
}

func (w *way) intercept(before func(call) (*http.Response, error), after func(call) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before, w.after = before, after
}

// arrived are the bytes of files that a server took.
func arrived(calls []call) (n int64) {
	for _, c := range calls {
		if (c.operation == "UploadPart" || c.operation == "PutObject") && c.status == http.StatusOK && strings.HasPrefix(c.key, models.Prefix) {
			n += c.bytes
		}
	}
	return n
}

// count counts calls by operation.
func count(calls []call) map[string]int {
	n := map[string]int{}
	for _, c := range calls {
		n[c.operation]++
	}
	return n
}

// answer is an error as S3 answers it.
func answer(status int, code string) *http.Response {
	body := fmt.Sprintf("<Error><Code>%s</Code><Message>%s</Message><RequestId>1</RequestId></Error>", code, code)
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// world is a bucket, and what stands before it.
type world struct {
	*models.Store
	way *way
	box *sandbox.Sandbox
	key string
}

// newWorld makes a sandbox with a bucket as the storage stack makes it. Bodies are
// in a real S3 server, or in the account. Parts are the least that S3 takes.
func newWorld(t testing.TB, real bool) *world {
	t.Helper()
	var o sandbox.Options
	if real {
		o.Objects = stored(t)
	}
	return newWorldOf(t, o)
}

func newWorldOf(t testing.TB, o sandbox.Options) *world {
	t.Helper()
	box := testkit.Sandbox(t, o)
	w := &world{box: box, way: &way{}}
	w.way.next = testkit.Transport{Handler: served{w.way, box}}
	p := box.Principals()[0]
	clients, err := awsapi.New(t.Context(), awsapi.Options{
		Region: box.Region(), Endpoint: testkit.Endpoint, HTTPClient: &http.Client{Transport: w.way}, Clock: unwaited{},
		Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken),
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := clients.KMS.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	w.key = *key.KeyMetadata.Arn
	testkit.MustCreate(t, box, s3.TypeBucket, map[string]any{
		"BucketName": bucket, "VersioningConfiguration": map[string]any{"Status": "Enabled"},
		"BucketEncryption": map[string]any{"ServerSideEncryptionConfiguration": []any{map[string]any{
			"BucketKeyEnabled": true, "ServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": w.key},
		}}},
	})
	if w.Store, err = models.Open(t.Context(), clients, bucket); err != nil {
		t.Fatal(err)
	}
	w.InParts(5 * mebi)
	w.way.take()
	return w
}

// stored holds bodies in a real S3 server.
func stored(t testing.TB) *objects.Store {
	t.Helper()
	return open(t, plane.Options{Program: server.Program(t, "s3")})
}

func open(t testing.TB, o plane.Options) *objects.Store {
	t.Helper()
	store, err := objects.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// eachStore runs a test with bodies in the account, and in a real S3 server.
func eachStore(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	for name, real := range map[string]bool{"account": false, "server": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, real))
		})
	}
}

// files are what a checkpoint holds: names, and sizes with a seed.
type files map[string]content

type content struct {
	size int64
	seed byte
}

func (c content) reader() io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{c.seed}), c.size)
}

func (f files) size() (n int64) {
	for _, c := range f {
		n += c.size
	}
	return n
}

// sample has files of several parts and of one, with some left over and without.
func sample() files {
	return files{"config.json": {700, 1}, "empty": {0, 1}, "model-1.safetensors": {11 * mebi, 2}, "model-2.safetensors": {10 * mebi, 3}, "tokenizer/vocab.txt": {mebi + 5, 4}, "whole": {5 * mebi, 5}}
}

// tarTo writes an archive.
func tarTo(t testing.TB, w io.Writer, f files) {
	t.Helper()
	out := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: f[name].size}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, f[name].reader()); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// archived writes an archive into a new folder.
func archived(t testing.TB, name string, f files) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var w io.WriteCloser = file
	switch filepath.Ext(name) {
	case ".gz":
		w = gzip.NewWriter(file)
	case ".zst":
		if w, err = zstd.NewWriter(file); err != nil {
			t.Fatal(err)
		}
	}
	tarTo(t, w, f)
	err = w.Close()
	if w != io.WriteCloser(file) {
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// unpacked writes files into a new folder.
func unpacked(t testing.TB, f files) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	for name, c := range f {
		body, err := io.ReadAll(c.reader())
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, body, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func digestOf(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text))
}

// holds compares a bucket's checkpoint with files, byte by byte, and returns the
// marker's metadata, nil if there is none.
func (w *world) holds(t *testing.T, name string, want files) map[string]string {
	t.Helper()
	w.way.intercept(nil, nil)
	list, err := w.S3.ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(models.Prefix + name + "/")})
	if err != nil {
		t.Fatal(err)
	}
	var meta map[string]string
	got := map[string]string{}
	for _, o := range list.Contents {
		out, err := w.S3.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: aws.String(bucket), Key: o.Key})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, out.Body); err != nil {
			t.Fatal(err)
		}
		if out.ServerSideEncryption != "aws:kms" || aws.ToString(out.SSEKMSKeyId) != w.key {
			t.Errorf("%s is encrypted with %s %s", *o.Key, out.ServerSideEncryption, aws.ToString(out.SSEKMSKeyId))
		}
		file := strings.TrimPrefix(*o.Key, models.Prefix+name+"/")
		if file == models.Marker {
			meta = out.Metadata
			if *o.Size != 0 {
				t.Errorf("the marker has %d bytes", *o.Size)
			}
			continue
		}
		got[file] = fmt.Sprintf("%x", h.Sum(nil))
	}
	expected := map[string]string{}
	for file, c := range want {
		h := sha256.New()
		if _, err := io.Copy(h, c.reader()); err != nil {
			t.Fatal(err)
		}
		expected[file] = fmt.Sprintf("%x", h.Sum(nil))
	}
	if d := cmp.Diff(expected, got); d != "" {
		t.Errorf("files of %s, -want +got:\n%s", name, d)
	}
	uploads, err := w.S3.ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: aws.String(bucket), Prefix: aws.String(models.Prefix + name + "/")})
	if err != nil || meta != nil && len(uploads.Uploads) > 0 {
		t.Errorf("%d unfinished uploads of a complete checkpoint, %v", len(uploads.Uploads), err)
	}
	w.way.take()
	return meta
}

// complete tells whether the marker is there.
func (w *world) complete(t *testing.T, name string) bool {
	t.Helper()
	_, err := w.S3.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + name + "/" + models.Marker)})
	if err != nil && !awsapi.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// A checkpoint arrives byte by byte from each kind of source, in the vendor's
// layout and with its marker, and a repeat costs two calls.
func TestPush(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		for _, ending := range []string{".tar", ".tar.gz", ".tar.zst"} {
			path := archived(t, "laguna-xs-2.2"+ending, sample())
			digest := digestOf(t, path)
			m := transfer.NewMeter(clock.Real{}, nil)
			got, err := w.Push(t.Context(), models.PushOptions{Source: path, Meter: m})
			if err != nil {
				t.Fatalf("%s: %v", ending, err)
			}
			want := &models.Pushed{Name: "laguna-xs-2.2", URI: "s3://" + bucket + "/models/checkpoints/laguna-xs-2.2/", Digest: digest, Files: 6, Bytes: sample().size(), Sent: sample().size(), Removed: []string{}, Others: []string{}}
			if ending != ".tar" {
				// The same files from another archive: nothing is sent, the marker is new.
				want.Sent, want.Replaced = 0, true
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s: %s", ending, d)
			}
			calls := w.way.take()
			for _, c := range calls {
				if makes := c.operation == "PutObject" || c.operation == "CreateMultipartUpload"; makes != c.bucketKey {
					t.Errorf("%s: %+v", ending, c)
				}
			}
			if n := arrived(calls); n != want.Sent || m.State().Moved != want.Sent || m.State().Done != 1 {
				t.Errorf("%s: %d bytes arrived, the meter has %+v", ending, n, m.State())
			}
			if meta := w.holds(t, "laguna-xs-2.2", sample()); meta["sha256"] != strings.TrimPrefix(digest, "sha256:") {
				t.Errorf("%s: the marker says %v, and the archive is %s", ending, meta, digest)
			}
			got, err = w.Push(t.Context(), models.PushOptions{Source: path})
			if err != nil || !got.Unchanged || got.Digest != digest {
				t.Errorf("%s again: %+v, %v", ending, got, err)
			}
			if d := cmp.Diff(map[string]int{"HeadObject": 1, "ListObjectsV2": 1}, count(w.way.take())); d != "" {
				t.Errorf("%s again: %s", ending, d)
			}
		}
	})
}

func algorithmOf(s string) types.ChecksumAlgorithm { return types.ChecksumAlgorithm(s) }

// checksum is CRC-64/NVME by its definition, bit by bit.
func checksum(text []byte) string {
	crc := ^uint64(0)
	for _, b := range text {
		crc ^= uint64(b)
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low != 0 {
				crc ^= 0x9a6c9329ac4bc9b5
			}
		}
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, ^crc))
}
