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
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// mebibytes is how large the checkpoint of TestLarge is. It is a package variable
// because the testing package parses flags before tests run; only tests link it.
var mebibytes = flag.Int64("mebibytes", 0, "size of the large checkpoint; 0 is 256, or 2048 where sweeps are complete, and 1024 in benchmarks")

// bare is a real S3 server with nothing before it.
type bare struct {
	*models.Store
	url  string
	cred aws.Credentials
}

// openBare starts a server. Its bucket has no encryption of its own.
func openBare(t testing.TB) *bare {
	t.Helper()
	program := os.Getenv("POOLHOUSE_PLANE_S3")
	if program == "" {
		t.Skip("POOLHOUSE_PLANE_S3 names no program: go -C planes/s3 build -o DIR ./poolhouse-plane-s3, then POOLHOUSE_PLANE_S3=DIR/poolhouse-plane-s3")
	}
	cred := aws.Credentials{AccessKeyID: "AKIABAREEXAMPLE22222", SecretAccessKey: "bare/bare/bare/bare/bare/bare/EXAMPLE000"}
	server, err := plane.Run(context.Background(), plane.Options{Name: "s3", Program: program, Config: map[string]string{"accessKeyId": cred.AccessKeyID, "secretAccessKey": cred.SecretAccessKey}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bare{url: "http://" + server.Address("s3"), cred: cred}
	clients, err := awsapi.New(t.Context(), awsapi.Options{
		Region: "us-east-1", Endpoint: b.url, Clock: unwaited{}, Credentials: credentials.NewStaticCredentialsProvider(cred.AccessKeyID, cred.SecretAccessKey, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Store = &models.Store{S3: clients.S3, Clock: clock.Real{}, Bucket: "poolhouse"}
	return b
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

// peak is the most memory that the process had from the system.
func peak() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys
}

// TestLarge pushes a checkpoint to a server that nothing stands before, and nobody
// else in this process: memory stays bounded, whatever the size. It is not parallel.
func TestLarge(t *testing.T) {
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
	t.Logf("%d MiB at %.0f MiB/s, %d MiB of memory", size, float64(size)/time.Since(began).Seconds(), peak()>>20)
	if m := peak(); m > 256*mebi {
		t.Errorf("it took %d MiB of memory", m>>20)
	}
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
	for name, c := range f {
		out, err := b.S3.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: &b.Bucket, Key: aws.String(models.Prefix + "m/" + name)})
		if err != nil {
			t.Fatal(err)
		}
		have, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(c.reader())
		if err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s came otherwise, %v", name, err)
		}
	}
	if v, err := b.Verify(t.Context(), "m"); err != nil || !v.Whole {
		t.Errorf("%+v, %v", v, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// BenchmarkPush sends the same bytes to the same server and disk in four ways, by
// turns, and reports the best of each in MiB/s: a plain copy into a file, the
// simplest client that sends parts from memory side by side, the AWS CLI, and Push
// from the archive. Push is to reach 0.8 of the simplest client, and not less than
// the AWS CLI.
func BenchmarkPush(b *testing.B) {
	size := 1024
	if *mebibytes > 0 {
		size = int(*mebibytes)
	}
	server := openBare(b)
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
	ways := map[string]func(n int) error{
		"copy":     func(int) error { return copyFile(archive, filepath.Join(dir, "copy")) },
		"simplest": func(n int) error { return server.simplest(b.Context(), fmt.Sprint("simplest-", n), size) },
		"push": func(n int) error {
			_, err := server.Push(b.Context(), models.PushOptions{Source: archive, Name: fmt.Sprint("m-", n)})
			return err
		},
	}
	if cli := os.Getenv("POOLHOUSE_AWSCLI"); cli != "" {
		ways["aws"] = func(n int) error {
			c := exec.Command(cli, "--endpoint-url", server.url, "s3", "cp", "--only-show-errors", archive, fmt.Sprintf("s3://poolhouse/aws-%d", n))
			c.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+server.cred.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+server.cred.SecretAccessKey, "AWS_DEFAULT_REGION=us-east-1")
			text, err := c.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, text)
			}
			return nil
		}
	}
	best := map[string]float64{}
	n := 0
	for b.Loop() {
		for name, way := range ways {
			n++
			began := time.Now()
			if err := way(n); err != nil {
				b.Fatalf("%s: %v", name, err)
			}
			best[name] = max(best[name], float64(size)/time.Since(began).Seconds())
		}
	}
	for name, rate := range best {
		b.ReportMetric(rate, name+"-MiB/s")
	}
	b.ReportMetric(best["push"]/best["simplest"], "of-simplest")
	b.ReportMetric(float64(peak()>>20), "MiB")
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
