package s3_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc64"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

// elsewhere holds bodies outside of the account, as a data plane does.
type elsewhere struct {
	mu     sync.Mutex
	bodies map[string]string
	made   int
	down   error
}

var _ s3.Bodies = (*elsewhere)(nil)

func newElsewhere() *elsewhere { return &elsewhere{bodies: map[string]string{}} }

func (e *elsewhere) Put(_ context.Context, body io.Reader, length int64) (s3.Body, error) {
	text, err := io.ReadAll(io.LimitReader(body, length))
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		err = e.down
	}
	if err != nil {
		return s3.Body{}, err
	}
	e.made++
	name := fmt.Sprint("body-", e.made)
	e.bodies[name] = string(text)
	return s3.Body{Name: name, Size: int64(len(text))}, nil
}

func (e *elsewhere) Get(_ context.Context, b s3.Body, from, length int64) (io.ReadCloser, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text, ok := e.bodies[b.Name]
	if e.down != nil || !ok {
		return nil, fmt.Errorf("no body %s: %w", b.Name, e.down)
	}
	return io.NopCloser(strings.NewReader(text[from : from+length])), nil
}

func (e *elsewhere) Remove(_ context.Context, bodies []s3.Body) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range bodies {
		delete(e.bodies, b.Name)
	}
	return nil
}

// fail makes it fail, or work again.
func (e *elsewhere) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = err
}

// onlyKnown holds what is kept outside of the account to what the account knows.
func (e *elsewhere) onlyKnown(t *testing.T, s *sandbox.Sandbox, when string) {
	t.Helper()
	var known []string
	_ = s.Account().Do(func(tx *account.Tx) error {
		known = slices.Sorted(maps.Keys(s3.Names(tx)))
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := cmp.Diff(known, slices.Sorted(maps.Keys(e.bodies))); d != "" {
		t.Errorf("%s, bodies differ from what the account knows of, -known +kept:\n%s", when, d)
	}
}

// eachStore runs a test with bodies in the account, and outside of it.
func eachStore(t *testing.T, test func(t *testing.T, s *sandbox.Sandbox, known func(when string))) {
	t.Parallel()
	for _, name := range []string{"in the account", "elsewhere"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o sandbox.Options
			e := newElsewhere()
			if name == "elsewhere" {
				o.Objects = e
			}
			s := testkit.Sandbox(t, o)
			test(t, s, func(when string) { t.Helper(); e.onlyKnown(t, s, when) })
		})
	}
}

func content(t *testing.T, c *sdk.Client, in *sdk.GetObjectInput) (string, *sdk.GetObjectOutput) {
	t.Helper()
	out, err := c.GetObject(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), out
}

const mebibyte = 1 << 20

// An object uploaded in parts is there once the upload is completed, from parts
// of at least 5 MiB but the last, in ascending order.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
func TestUploadInParts(t *testing.T) {
	eachStore(t, func(t *testing.T, s *sandbox.Sandbox, known func(string)) {
		ctx := context.Background()
		c := sdk.NewFromConfig(testkit.Config(s))
		bucket, key := aws.String("parts-123"), aws.String("a/b")
		testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": *bucket})
		u, err := c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: key, ContentType: aws.String("text/plain"), Metadata: map[string]string{"who": "me"}})
		if err != nil {
			t.Fatal(err)
		}
		texts := []string{strings.Repeat("a", 5*mebibyte), strings.Repeat("b", 5*mebibyte+1), "c"}
		etags := make([]string, 5)
		send := func(n int32, text string) {
			t.Helper()
			p, err := c.UploadPart(ctx, &sdk.UploadPartInput{Bucket: bucket, Key: key, UploadId: u.UploadId, PartNumber: &n, Body: strings.NewReader(text)})
			if err != nil {
				t.Fatal(err)
			}
			etags[n] = *p.ETag
		}
		send(1, texts[0])
		send(2, "replaced")
		send(2, texts[1])
		send(3, texts[2])
		send(4, "left out")
		known("with parts")
		parts, err := c.ListParts(ctx, &sdk.ListPartsInput{Bucket: bucket, Key: key, UploadId: u.UploadId, PartNumberMarker: aws.String("1"), MaxParts: aws.Int32(2)})
		if err != nil || len(parts.Parts) != 2 || *parts.Parts[0].Size != int64(len(texts[1])) || *parts.Parts[1].ETag != etags[3] || !*parts.IsTruncated || *parts.NextPartNumberMarker != "3" {
			t.Errorf("parts: %+v, %v", parts, err)
		}
		open, err := c.ListMultipartUploads(ctx, &sdk.ListMultipartUploadsInput{Bucket: bucket, Prefix: aws.String("a/")})
		if err != nil || len(open.Uploads) != 1 || *open.Uploads[0].UploadId != *u.UploadId || *open.Uploads[0].Key != *key {
			t.Errorf("uploads: %+v, %v", open, err)
		}
		if _, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: key}); testkit.Code(err) != "NotFound" {
			t.Errorf("the object is there before its end: %v", err)
		}
		complete := func(numbers ...int32) (*sdk.CompleteMultipartUploadOutput, error) {
			var list []types.CompletedPart
			for _, n := range numbers {
				list = append(list, types.CompletedPart{PartNumber: &n, ETag: &etags[n]})
			}
			return c.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: list}})
		}
		etags[0] = etags[1]
		for want, numbers := range map[string][]int32{"InvalidPartOrder": {2, 1}, "InvalidPart": {0}, "EntityTooSmall": {1, 3, 4}, "MalformedXML": nil} {
			if want == "InvalidPart" {
				etags[0], etags[1] = etags[1], etags[2]
				numbers = []int32{1}
			}
			if _, err := complete(numbers...); testkit.Code(err) != want {
				t.Errorf("complete %v: %v, want %s", numbers, err, want)
			}
			if want == "InvalidPart" {
				etags[1] = etags[0]
			}
		}
		done, err := complete(1, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		whole := strings.Join(texts, "")
		sums := md5.New()
		for _, text := range texts {
			sum := md5.Sum([]byte(text))
			sums.Write(sum[:])
		}
		if want := `"` + hex.EncodeToString(sums.Sum(nil)) + `-3"`; *done.ETag != want {
			t.Errorf("ETag %s, want %s", *done.ETag, want)
		}
		known("once complete")
		got, head := content(t, c, &sdk.GetObjectInput{Bucket: bucket, Key: key})
		if got != whole || *head.ETag != *done.ETag || *head.ContentType != "text/plain" || head.Metadata["who"] != "me" {
			t.Errorf("the object has %d of %d bytes: %+v", len(got), len(whole), head)
		}
		if got, r := content(t, c, &sdk.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=5242879-10485761"), IfMatch: done.ETag}); got != whole[5242879:10485762] || *r.ContentRange != fmt.Sprintf("bytes 5242879-10485761/%d", len(whole)) {
			t.Errorf("over the parts: %d bytes, %s", len(got), *r.ContentRange)
		}
		if got, r := content(t, c, &sdk.GetObjectInput{Bucket: bucket, Key: key, PartNumber: aws.Int32(2)}); got != texts[1] || *r.PartsCount != 3 {
			t.Errorf("part 2: %d bytes of %d parts", len(got), *r.PartsCount)
		}
		if _, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key, PartNumber: aws.Int32(4)}); testkit.Code(err) != "InvalidPartNumber" {
			t.Errorf("part 4: %v", err)
		}
		if _, err := complete(1, 2, 3); testkit.Code(err) != "NoSuchUpload" {
			t.Errorf("complete again: %v", err)
		}
		if _, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
			t.Fatal(err)
		}
		known("once deleted")
	})
}

// An upload that is aborted takes its parts with it, and no more come.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
func TestUploadIsAborted(t *testing.T) {
	eachStore(t, func(t *testing.T, s *sandbox.Sandbox, known func(string)) {
		ctx := context.Background()
		c := sdk.NewFromConfig(testkit.Config(s))
		bucket, key := aws.String("parts-123"), aws.String("k")
		testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": *bucket})
		for range 2 {
			u, err := c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: key})
			if err != nil {
				t.Fatal(err)
			}
			part := &sdk.UploadPartInput{Bucket: bucket, Key: key, UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")}
			if _, err := c.UploadPart(ctx, part); err != nil {
				t.Fatal(err)
			}
			if _, err := c.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: u.UploadId}); err != nil {
				t.Fatal(err)
			}
			part.Body = strings.NewReader("y")
			if _, err := c.UploadPart(ctx, part); testkit.Code(err) != "NoSuchUpload" {
				t.Errorf("a part of no upload: %v", err)
			}
			known("once aborted")
		}
		if _, err := c.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: bucket}); err != nil {
			t.Errorf("delete the empty bucket: %v", err)
		}
	})
}

// A copy has its source's metadata and tags unless they are replaced; an object
// is not copied onto itself unless something changes.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
func TestCopies(t *testing.T) {
	eachStore(t, func(t *testing.T, s *sandbox.Sandbox, known func(string)) {
		ctx := context.Background()
		c := sdk.NewFromConfig(testkit.Config(s))
		bucket := aws.String("copies-123")
		testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": *bucket})
		if _, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: aws.String("ä b"), Body: strings.NewReader("0123456789"), Tagging: aws.String("a=b"), Metadata: map[string]string{"m": "1"}}); err != nil {
			t.Fatal(err)
		}
		source := aws.String("copies-123/%C3%A4%20b")
		const sumSHA256 = "hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII="
		for name, in := range map[string]*sdk.CopyObjectInput{
			"plain":    {},
			"sums":     {ChecksumAlgorithm: types.ChecksumAlgorithmSha256},
			"replaced": {MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"m": "2"}, TaggingDirective: types.TaggingDirectiveReplace, Tagging: aws.String("a=c")},
		} {
			in.Bucket, in.Key, in.CopySource = bucket, &name, source
			out, err := c.CopyObject(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			got, head := content(t, c, &sdk.GetObjectInput{Bucket: bucket, Key: &name})
			tags, err := c.GetObjectTagging(ctx, &sdk.GetObjectTaggingInput{Bucket: bucket, Key: &name})
			if err != nil {
				t.Fatal(err)
			}
			want := "1 a=b"
			if name == "replaced" {
				want = "2 a=c"
			}
			sum, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: &name, ChecksumMode: types.ChecksumModeEnabled})
			if r := out.CopyObjectResult; err != nil || name == "sums" && aws.ToString(r.ChecksumSHA256) != sumSHA256 || name != "sums" && aws.ToString(r.ChecksumCRC32) == "" || aws.ToString(sum.ChecksumSHA256) != aws.ToString(r.ChecksumSHA256) || aws.ToString(sum.ChecksumCRC32) != aws.ToString(r.ChecksumCRC32) {
				t.Errorf("%s: the copy says %+v, and the object %+v, %v", name, r, sum, err)
			}
			if is := fmt.Sprintf("%s %s=%s", head.Metadata["m"], *tags.TagSet[0].Key, *tags.TagSet[0].Value); got != "0123456789" || *out.CopyObjectResult.ETag != *head.ETag || is != want {
				t.Errorf("%s: %q, %s, want %s", name, got, is, want)
			}
		}
		for want, in := range map[string]*sdk.CopyObjectInput{
			"InvalidRequest":     {Key: aws.String("ä b"), CopySource: source},
			"NoSuchKey":          {Key: aws.String("x"), CopySource: aws.String("copies-123/none")},
			"NoSuchBucket":       {Key: aws.String("x"), CopySource: aws.String("none-123/k")},
			"PreconditionFailed": {Key: aws.String("x"), CopySource: source, CopySourceIfMatch: aws.String(`"0"`)},
		} {
			in.Bucket = bucket
			if _, err := c.CopyObject(ctx, in); testkit.Code(err) != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
		u, err := c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("part")})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.UploadPartCopy(ctx, &sdk.UploadPartCopyInput{Bucket: bucket, Key: aws.String("part"), UploadId: u.UploadId, PartNumber: aws.Int32(1), CopySource: source, CopySourceRange: aws.String("bytes=3-5")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{Bucket: bucket, Key: aws.String("part"), UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.CopyPartResult.ETag}}}}); err != nil {
			t.Fatal(err)
		}
		if got, _ := content(t, c, &sdk.GetObjectInput{Bucket: bucket, Key: aws.String("part")}); got != "345" {
			t.Errorf("a copied part: %q", got)
		}
		known("after copies")
	})
}

// The checksum of an object uploaded in parts is that of the whole, or one of the
// parts' checksums, as was asked for.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
func TestChecksumsOfParts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	bucket := aws.String("sums-123")
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": *bucket})
	texts := []string{strings.Repeat("ab", 5*mebibyte/2), "cde"}
	whole := crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5))
	fmt.Fprint(whole, texts[0], texts[1])
	want := base64.StdEncoding.EncodeToString(whole.Sum(nil))
	upload := func(key string, algorithm types.ChecksumAlgorithm, kind types.ChecksumType, sum *string) (*sdk.CompleteMultipartUploadOutput, error) {
		u, err := c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: &key, ChecksumAlgorithm: algorithm, ChecksumType: kind})
		if err != nil {
			t.Fatal(err)
		}
		var list []types.CompletedPart
		for i, text := range texts {
			n := aws.Int32(int32(i + 1))
			p, err := c.UploadPart(ctx, &sdk.UploadPartInput{Bucket: bucket, Key: &key, UploadId: u.UploadId, PartNumber: n, Body: strings.NewReader(text), ChecksumAlgorithm: algorithm})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, types.CompletedPart{PartNumber: n, ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32, ChecksumCRC64NVME: p.ChecksumCRC64NVME})
		}
		return c.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{Bucket: bucket, Key: &key, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: list}, ChecksumCRC64NVME: sum})
	}
	done, err := upload("whole", types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject, &want)
	if err != nil || *done.ChecksumCRC64NVME != want || done.ChecksumType != types.ChecksumTypeFullObject {
		t.Errorf("of the whole: %+v, %v", done, err)
	}
	if _, head := content(t, c, &sdk.GetObjectInput{Bucket: bucket, Key: aws.String("whole"), ChecksumMode: types.ChecksumModeEnabled}); aws.ToString(head.ChecksumCRC64NVME) != want {
		t.Errorf("shown of the whole: %+v", head)
	}
	if _, err := upload("wrong", types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject, aws.String("AAAAAAAAAAA=")); testkit.Code(err) != "BadDigest" {
		t.Errorf("a wrong one: %v", err)
	}
	done, err = upload("parts", types.ChecksumAlgorithmCrc32, "", nil)
	if err != nil || !strings.HasSuffix(aws.ToString(done.ChecksumCRC32), "-2") || done.ChecksumType != types.ChecksumTypeComposite {
		t.Errorf("of parts: %+v, %v", done, err)
	}
}

// untouched fails a test that reads it.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// TestDeniedUploadIsNotRead refuses an upload before a byte of it comes.
func TestDeniedUploadIsNotRead(t *testing.T) {
	t.Parallel()
	nobody := sandbox.Principal{AccessKeyID: "AKIANOBODYEXAMPLE222", SecretAccessKey: "nobody", ARN: "arn:aws:iam::123456789012:user/nobody", Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}]}`}
	s := testkit.Sandbox(t, sandbox.Options{Objects: newElsewhere(), Principals: []sandbox.Principal{{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: "arn:aws:iam::123456789012:root"}, nobody}})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "mine-123"})
	put, err := sdk.NewPresignClient(sdk.NewFromConfig(testkit.ConfigAs(s, nobody))).PresignPutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String("mine-123"), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPut, put.URL, untouched{t})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 5 * mebibyte
	resp, err := testkit.Client(s).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusForbidden || !bytes.Contains(body, []byte("<Code>AccessDenied</Code><Message>User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: s3:PutObject on resource: &#34;arn:aws:s3:::mine-123/k&#34;")) {
		t.Errorf("%d %s, %v", resp.StatusCode, body, err)
	}
}

// TestRefusedUploadLeavesNothing has uploads fail once their bodies were kept.
func TestRefusedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := newElsewhere()
	s := testkit.Sandbox(t, sandbox.Options{Objects: e})
	c := sdk.NewFromConfig(testkit.Config(s), func(o *sdk.Options) { o.RetryMaxAttempts = 1 })
	bucket, key := aws.String("mine-123"), aws.String("k")
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": *bucket})
	put := func(in sdk.PutObjectInput) error {
		in.Bucket, in.Key, in.Body = bucket, key, strings.NewReader("text")
		_, err := c.PutObject(ctx, &in)
		return err
	}
	if err := put(sdk.PutObjectInput{}); err != nil {
		t.Fatal(err)
	}
	if err := put(sdk.PutObjectInput{IfNoneMatch: aws.String("*")}); testkit.Code(err) != "PreconditionFailed" {
		t.Errorf("over another: %v", err)
	}
	if err := put(sdk.PutObjectInput{ContentMD5: aws.String("AAAAAAAAAAAAAAAAAAAAAA==")}); testkit.Code(err) != "BadDigest" {
		t.Errorf("with another hash: %v", err)
	}
	e.onlyKnown(t, s, "after refusals")
	if err := put(sdk.PutObjectInput{}); err != nil {
		t.Fatal(err)
	}
	e.onlyKnown(t, s, "after another version")
	e.fail(fmt.Errorf("disk full"))
	if err := put(sdk.PutObjectInput{}); testkit.Code(err) != "ServiceUnavailable" || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("while the server is down: %v", err)
	}
	if _, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key}); testkit.Code(err) != "ServiceUnavailable" {
		t.Errorf("while the server is down: %v", err)
	}
	if _, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: key}); err != nil {
		t.Errorf("what the account knows by itself: %v", err)
	}
	e.fail(nil)
	if got, _ := content(t, c, &sdk.GetObjectInput{Bucket: bucket, Key: key}); got != "text" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestObjectTags(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	bucket, key := aws.String("tags-123"), aws.String("k")
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": *bucket})
	if _, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: key, Tagging: aws.String("a=1")}); err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		t.Helper()
		out, err := c.GetObjectTagging(ctx, &sdk.GetObjectTaggingInput{Bucket: bucket, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, tag := range out.TagSet {
			list = append(list, *tag.Key+"="+*tag.Value)
		}
		return strings.Join(list, " ")
	}
	if got := shown(); got != "a=1" {
		t.Errorf("as it was put: %s", got)
	}
	set := func(tags ...types.Tag) error {
		_, err := c.PutObjectTagging(ctx, &sdk.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: &types.Tagging{TagSet: tags}})
		return err
	}
	tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
	if err := set(tag("c d", "ü"), tag("b", "")); err != nil || shown() != "b= c d=ü" {
		t.Errorf("set: %s, %v", shown(), err)
	}
	if err := set(tag("a", "1"), tag("a", "2")); testkit.Code(err) != "InvalidTag" {
		t.Errorf("twice the same: %v", err)
	}
	if _, err := c.DeleteObjectTagging(ctx, &sdk.DeleteObjectTaggingInput{Bucket: bucket, Key: key}); err != nil || shown() != "" {
		t.Errorf("deleted: %s, %v", shown(), err)
	}
}
