package models_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// mebibytes is how large the checkpoint of TestLarge is. It is a package variable
// because the testing package parses flags before tests run; only tests link it.
var mebibytes = flag.Int64("mebibytes", 0, "size of the large checkpoint; 0 is 256, or 2048 where sweeps are complete, and 1024 in benchmarks")

// bare is a real S3 server with nothing before it.
type bare struct {
	*models.Store
	server *plane.Server
	url    string
	cred   aws.Credentials
}

// openBare starts a server. Its bucket has no encryption of its own.
func openBare(t testing.TB) *bare {
	t.Helper()
	return startBare(t, plane.Options{Program: server.Program(t, "s3")})
}

func startBare(t testing.TB, o plane.Options) *bare {
	t.Helper()
	cred := aws.Credentials{AccessKeyID: "AKIABAREEXAMPLE22222", SecretAccessKey: "bare/bare/bare/bare/bare/bare/EXAMPLE000"}
	o.Name, o.Config = "s3", map[string]string{"accessKeyId": cred.AccessKeyID, "secretAccessKey": cred.SecretAccessKey}
	b := &bare{server: server.Run(t, o), cred: cred}
	b.url = "http://" + b.server.Address("s3")
	b.Store = b.at(t, b.url)
	return b
}

// at is the bucket by way of an address.
func (b *bare) at(t testing.TB, url string) *models.Store {
	t.Helper()
	clients, err := awsapi.New(t.Context(), awsapi.Options{
		Region: "us-east-1", Endpoint: url, Clock: unwaited{}, Credentials: credentials.NewStaticCredentialsProvider(b.cred.AccessKeyID, b.cred.SecretAccessKey, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &models.Store{S3: clients.S3, Clock: clock.Real{}, Bucket: "poolhouse"}
}

// stream opens an archive of files that lies nowhere.
func stream(f files) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			out := tar.NewWriter(w)
			var err error
			for _, name := range slices.Sorted(maps.Keys(f)) {
				err = errors.Join(err, out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: f[name].size}))
				if err == nil {
					_, err = io.Copy(out, f[name].reader())
				}
			}
			w.CloseWithError(errors.Join(err, out.Close()))
		}()
		return r, nil
	}
}

// shards are a checkpoint of a size.
func shards(size int64) files {
	f := files{"config.json": {700, 1}}
	const shard = 512 * mebi
	for i := int64(0); i*shard < size; i++ {
		f[fmt.Sprintf("model-%05d.safetensors", i+1)] = content{min(shard, size-i*shard), byte(i + 2)}
	}
	return f
}

// modest expects that the process has not had more memory than a push may take, with
// a distance to what is promised.
func modest(t *testing.T) {
	t.Helper()
	if m := testkit.Peak(); m > 216*mebi {
		t.Errorf("it took %d MiB of memory", m>>20)
	}
}

// TestLarge pushes a checkpoint to a server that nothing stands before, and nobody
// else in its process: memory stays bounded, whatever the size. It is not parallel.
func TestLarge(t *testing.T) {
	server.Program(t, "s3") // without it nothing is to be done apart either
	if !testkit.Apart(t) {
		return
	}
	size := int64(256)
	if os.Getenv("POOLHOUSE_FULL") != "" {
		size = 2048
	}
	if *mebibytes > 0 {
		size = *mebibytes
	}
	b := openBare(t)
	f := shards(size * mebi)
	began := time.Now()
	got, err := b.Push(t.Context(), models.PushOptions{Source: "large.tar", Open: stream(f)})
	if err != nil || got.Sent != f.size() {
		t.Fatalf("%+v, %v", got, err)
	}
	t.Logf("%d MiB at %.0f MiB/s, %d MiB of memory", size, float64(size)/time.Since(began).Seconds(), testkit.Peak()>>20)
	modest(t)
	again, err := b.Push(t.Context(), models.PushOptions{Source: "large.tar", Open: stream(f)})
	if err != nil || !again.Unchanged {
		t.Errorf("again: %+v, %v", again, err)
	}
	v, err := b.Verify(t.Context(), "large")
	if err != nil || !v.Whole || v.Bytes != f.size() {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := b.Remove(t.Context(), "large"); err != nil {
		t.Error(err)
	}
	if _, err := b.Verify(t.Context(), "large"); !models.Gone(err) {
		t.Errorf("after its removal: %v", err)
	}
}

// absorbing is a server that keeps of what it is sent only that it was: names, sizes
// and ETags.
type absorbing struct {
	mu      sync.Mutex
	objects map[string]string // what a listing says of them
	parts   int
}

// Do implements [s3.HTTPClient].
func (a *absorbing) Do(r *http.Request) (*http.Response, error) {
	n := int64(0)
	if r.Body != nil {
		var err error
		if n, err = io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	status, text, header := http.StatusOK, "", http.Header{"Etag": {`"0123456789abcdef0123456789abcdef"`}}
	key := strings.TrimPrefix(r.URL.Path, "/models/")
	list := func(size int64) {
		a.objects[key] = fmt.Sprintf("<Contents><Key>%s</Key><Size>%d</Size><ETag>0123456789abcdef0123456789abcdef</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>", key, size)
	}
	switch operation(r) {
	case "HeadObject":
		status = http.StatusNotFound
	case "GET":
		status, text = http.StatusNotFound, "<Error><Code>NoSuchKey</Code></Error>"
	case "PutObject":
		list(n)
	case "UploadPart":
		a.parts++
	case "CreateMultipartUpload":
		text = "<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>"
	case "CompleteMultipartUpload":
		size, err := strconv.ParseInt(r.Header.Get("X-Amz-Mp-Object-Size"), 10, 64)
		if err != nil {
			return nil, err
		}
		list(size)
		text = "<CompleteMultipartUploadResult><ETag>0123456789abcdef0123456789abcdef</ETag></CompleteMultipartUploadResult>"
	case "ListMultipartUploads":
		text = "<ListMultipartUploadsResult/>"
	case "ListObjectsV2":
		var b strings.Builder
		b.WriteString("<ListBucketResult>")
		for key, one := range a.objects {
			if strings.HasPrefix(key, r.URL.Query().Get("prefix")) {
				b.WriteString(one)
			}
		}
		text = b.String() + "</ListBucketResult>"
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r}, nil
}

// TestManyParts pushes files of as many parts as S3 takes, and many small ones: what is
// known of each does not add up. It is not parallel.
func TestManyParts(t *testing.T) {
	if !testkit.Apart(t) {
		return
	}
	const part = 4 << 10
	f := files{}
	for i := range 4 {
		f[fmt.Sprintf("large-%d", i)] = content{10_000 * part, byte(i)}
	}
	for i := range 5_000 {
		f[fmt.Sprintf("small-%05d", i)] = content{10, byte(i)}
	}
	sink := &absorbing{objects: map[string]string{}}
	clients, err := awsapi.New(t.Context(), awsapi.Options{Region: "us-east-1", Endpoint: "http://absorbing", HTTPClient: sink, Clock: unwaited{}, Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", "")})
	if err != nil {
		t.Fatal(err)
	}
	s := &models.Store{S3: clients.S3, Clock: clock.Real{}, Bucket: "models"}
	s.InParts(part)
	got, err := s.Push(t.Context(), models.PushOptions{Source: "m.tar", Open: stream(f)})
	if err != nil || got.Sent != f.size() || got.Files != len(f) || sink.parts != 4*10_000 {
		t.Fatalf("%+v, %v after %d parts", got, err, sink.parts)
	}
	t.Logf("%d parts and %d files: %d MiB of memory", sink.parts, got.Files, testkit.Peak()>>20)
	modest(t)
}

// TestBareServer has a push go on at a server that nothing stands before.
func TestBareServer(t *testing.T) {
	t.Parallel()
	b := openBare(t)
	f := sample()
	cut := errors.New("cut")
	broken := func(ctx context.Context) (io.ReadCloser, error) {
		r, err := stream(f)(ctx)
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r, 30*mebi), failing{cut}), r}, err
	}
	if _, err := b.Push(t.Context(), models.PushOptions{Source: "m.tar", Open: broken}); err == nil {
		t.Fatal("a stream that breaks is pushed")
	}
	got, err := b.Push(t.Context(), models.PushOptions{Source: "m.tar", Open: stream(f)})
	// What was read when the stream broke may not have been sent.
	if err != nil || got.Sent >= f.size() || got.Sent < f.size()-30*mebi {
		t.Fatalf("%+v, %v", got, err)
	}
	b.holds(t, "m", f)
	if v, err := b.Verify(t.Context(), "m"); err != nil || !v.Whole {
		t.Errorf("%+v, %v", v, err)
	}
}

// holds compares a checkpoint with files, byte by byte.
func (b *bare) holds(t *testing.T, name string, f files) {
	t.Helper()
	for file, c := range f {
		out, err := b.S3.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: &b.Bucket, Key: aws.String(models.Prefix + name + "/" + file)})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		have, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		if want := bytesIn(t, c); !bytes.Equal(have, want) {
			t.Errorf("%s came otherwise: %d bytes of %d", file, len(have), len(want))
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// bounds has benchmarks fail where a push is slower, or takes more memory, than it may.
// It is a package variable because the testing package parses flags before tests run;
// only tests link it.
var bounds = flag.Bool("bounds", false, "benchmarks fail below the bounds of a push")

// margin is what a push may be below its bounds, so that the noise of a quiet machine
// does not matter.
const margin = 0.1

// alone is a push by a process of its own, as the AWS CLI is one.
type alone struct{ URL, AccessKeyID, SecretAccessKey, Source, Name string }

// TestMain runs the tests, or a push.
func TestMain(m *testing.M) {
	testkit.Main(m, func(ctx context.Context, a alone) error {
		clients, err := awsapi.New(ctx, awsapi.Options{
			Region: "us-east-1", Endpoint: a.URL, Clock: clock.Real{}, Credentials: credentials.NewStaticCredentialsProvider(a.AccessKeyID, a.SecretAccessKey, ""),
		})
		if err != nil {
			return err
		}
		s := &models.Store{S3: clients.S3, Clock: clock.Real{}, Bucket: "poolhouse"}
		_, err = s.Push(ctx, models.PushOptions{Source: a.Source, Name: a.Name})
		return err
	})
}

// BenchmarkPush sends the same bytes to the same server and disk in four ways, by
// turns, and reports the median of each in MiB/s: a plain copy into a file, the
// simplest client that sends parts from memory side by side, the AWS CLI, and Push
// from the archive. Push is to reach 0.8 of the simplest client, and not less than
// the AWS CLI, in less than 256 MiB of memory.
func BenchmarkPush(b *testing.B) {
	size := 1024
	if *mebibytes > 0 {
		size = int(*mebibytes)
	}
	s := openBare(b)
	dir := b.TempDir()
	archive := filepath.Join(dir, "m.tar")
	out, err := os.Create(archive)
	if err != nil {
		b.Fatal(err)
	}
	in, err := stream(shards(int64(size) * mebi))(b.Context())
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err := errors.Join(err, out.Close()); err != nil {
		b.Fatal(err)
	}
	var (
		peak  uint64
		turns testkit.Turns
	)
	ways := map[string]func() error{
		"copy":     func() error { return copyFile(archive, filepath.Join(dir, "copy")) },
		"simplest": func() error { return s.simplest(b.Context(), "simplest", size) },
		"push": func() error {
			most, err := testkit.Alone(b.Context(), alone{s.url, s.cred.AccessKeyID, s.cred.SecretAccessKey, archive, "m"})
			peak = max(peak, most)
			return err
		},
	}
	cli := os.Getenv("POOLHOUSE_AWSCLI")
	if cli != "" {
		ways["aws"] = func() error {
			c := exec.Command(cli, "--endpoint-url", s.url, "s3", "cp", "--only-show-errors", archive, "s3://poolhouse/aws")
			c.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+s.cred.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+s.cred.SecretAccessKey, "AWS_DEFAULT_REGION=us-east-1")
			text, err := c.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, text)
			}
			return nil
		}
	}
	for b.Loop() {
		if err := turns.Round(float64(size), ways); err != nil {
			b.Fatal(err)
		}
		// The next round writes as much to the disk as this one.
		if _, err := s.Remove(b.Context(), "m"); err != nil {
			b.Fatal(err)
		}
		for _, key := range []string{"simplest", "aws"} {
			if _, err := s.S3.DeleteObject(b.Context(), &sdk.DeleteObjectInput{Bucket: &s.Bucket, Key: &key}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Logf("%d MiB of memory, and rates:\n%s", peak>>20, &turns)
	for _, way := range turns.Names() {
		b.ReportMetric(turns.Rate(way), way+"-MiB/s")
	}
	b.ReportMetric(turns.Of("push", "copy"), "of-copy")
	b.ReportMetric(float64(peak>>20), "MiB")
	compare := func(other string, bound float64) {
		is := turns.Of("push", other)
		b.ReportMetric(is, "of-"+other)
		b.Logf("push has %.2f of the rate of %s, and should have %.2f", is, other, bound)
		if *bounds && is < bound*(1-margin) {
			b.Error("push is too slow")
		}
	}
	compare("simplest", 0.8)
	if cli != "" {
		compare("aws", 1)
	} else if *bounds {
		b.Error("POOLHOUSE_AWSCLI names no program to compare with")
	}
	if *bounds && peak > 256*mebi {
		b.Errorf("a push took %d MiB of memory", peak>>20)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Remove(to))
}

// simplest sends parts of memory, four at a time.
func (b *bare) simplest(ctx context.Context, key string, size int) error {
	part := bytes.Repeat([]byte("0123456789abcdef"), 8*mebi/16)
	u, err := b.S3.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: &b.Bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if err != nil {
		return err
	}
	done := make([]types.CompletedPart, size/8)
	errs := make([]error, len(done))
	room := make(chan struct{}, 4)
	var all sync.WaitGroup
	for i := range done {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			p, err := b.S3.UploadPart(ctx, &sdk.UploadPartInput{Bucket: &b.Bucket, Key: &key, UploadId: u.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(part), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
			if errs[i] = err; err == nil {
				done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32}
			}
		})
	}
	all.Wait()
	_, err = b.S3.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{Bucket: &b.Bucket, Key: &key, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done}})
	return errors.Join(append(errs, err)...)
}
