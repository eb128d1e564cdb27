package images_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/images"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// Layers can be uploaded by ECR's own API, in parts of 5 MiB or more.
//
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CompleteLayerUpload.html
func TestUploadByAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	app, ctx := aws.String("app"), t.Context()
	begin := func() *string {
		t.Helper()
		out, err := w.ecr.InitiateLayerUpload(ctx, &sdk.InitiateLayerUploadInput{RepositoryName: app})
		if err != nil {
			t.Fatal(err)
		}
		return out.UploadId
	}
	part := func(id *string, first int64, text string) string {
		_, err := w.ecr.UploadLayerPart(ctx, &sdk.UploadLayerPartInput{
			RepositoryName: app, UploadId: id, PartFirstByte: &first, PartLastByte: aws.Int64(first + int64(len(text)) - 1), LayerPartBlob: []byte(text),
		})
		return testkit.Code(err)
	}
	complete := func(id *string, digest string) string {
		_, err := w.ecr.CompleteLayerUpload(ctx, &sdk.CompleteLayerUploadInput{RepositoryName: app, UploadId: id, LayerDigests: []string{digest}})
		return testkit.Code(err)
	}
	big := strings.Repeat("x", 5<<20)
	id := begin()
	for _, step := range []struct{ got, want string }{
		{complete(id, digestOf("x")), "EmptyUploadException"},
		{part(id, 0, big), ""},
		{part(id, 1, "y"), "InvalidLayerPartException"},
		{part(id, 5<<20, "y"), ""},
		{complete(id, digestOf("x")), "InvalidLayerException"},
		{complete(id, digestOf(big+"y")), ""},
		{complete(id, digestOf(big+"y")), "UploadNotFoundException"},
	} {
		if step.got != step.want {
			t.Errorf("got %s, want %s", step.got, step.want)
		}
	}
	small := begin()
	for _, step := range []struct{ got, want string }{
		{part(small, 0, "a"), ""}, {part(small, 1, "b"), ""}, {complete(small, digestOf("ab")), "LayerPartTooSmallException"},
	} {
		if step.got != step.want {
			t.Errorf("got %s, want %s", step.got, step.want)
		}
	}
	again := begin()
	if got := part(again, 0, big+"y"); got != "" {
		t.Error(got)
	}
	if got := complete(again, digestOf(big+"y")); got != "LayerAlreadyExistsException" {
		t.Error(got)
	}
	// A layer that no image has can't be fetched.
	fetch := &sdk.GetDownloadUrlForLayerInput{RepositoryName: app, LayerDigest: aws.String(digestOf(big + "y"))}
	if _, err := w.ecr.GetDownloadUrlForLayer(ctx, fetch); testkit.Code(err) != "LayerInaccessibleException" {
		t.Error(err)
	}
	m := manifestOf(digestOf(big + "y"))
	if _, err := w.ecr.PutImage(ctx, &sdk.PutImageInput{RepositoryName: app, ImageManifest: &m, ImageTag: aws.String("v1")}); err != nil {
		t.Error(err)
	}
	out, err := w.ecr.GetDownloadUrlForLayer(ctx, fetch)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.ask(http.MethodGet, *out.DownloadUrl, ""); r.Body.Len() != len(big)+1 {
		t.Errorf("fetched %d bytes", r.Body.Len())
	}
	checked, err := w.ecr.BatchCheckLayerAvailability(ctx, &sdk.BatchCheckLayerAvailabilityInput{RepositoryName: app, LayerDigests: []string{digestOf(big + "y"), digestOf("none"), "sha256:0"}})
	if err != nil || len(checked.Layers) != 2 || len(checked.Failures) != 1 {
		t.Fatal(checked, err)
	}
	if a, b := checked.Layers[0], checked.Layers[1]; a.LayerAvailability != types.LayerAvailabilityAvailable || aws.ToInt64(a.LayerSize) != 5<<20+1 || b.LayerAvailability != types.LayerAvailabilityUnavailable {
		t.Errorf("%+v, %+v", a, b)
	}
}

// An image that a manifest list has stays as long as that.
//
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html
func TestListsKeepTheirImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	m := w.image("app", "part", "layer text")
	index := fmt.Sprintf(`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"mediaType": %q, "digest": %q, "size": %d}]}`, ecr.MediaImage, digestOf(m), len(m))
	w.wants(w.ask(http.MethodPut, "/v2/app/manifests/all", index), http.StatusCreated)
	w.wants(w.ask(http.MethodDelete, "/v2/app/manifests/"+digestOf(m), ""), http.StatusBadRequest, "Requested image referenced by manifest list")
	described, err := w.ecr.DescribeImages(t.Context(), &sdk.DescribeImagesInput{RepositoryName: aws.String("app"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("all")}}})
	if err != nil || aws.ToInt64(described.ImageDetails[0].ImageSizeInBytes) != 16 {
		t.Error(described, err)
	}
	w.wants(w.ask(http.MethodDelete, "/v2/app/manifests/"+digestOf(index), ""), http.StatusAccepted)
	w.wants(w.ask(http.MethodDelete, "/v2/app/manifests/"+digestOf(m), ""), http.StatusAccepted)
}

// Without what holds layers, they are not modelled, and manifests are kept as
// they are. Lists name images, which have to be there all the same.
//
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
func TestWithoutLayers(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, box, ecr.TypeRepository, obj{"RepositoryName": "app"})
	c := sdk.NewFromConfig(testkit.Config(box))
	if _, err := c.InitiateLayerUpload(t.Context(), &sdk.InitiateLayerUploadInput{RepositoryName: aws.String("app")}); testkit.Code(err) != "NotModelled" {
		t.Error(err)
	}
	put := func(manifest string) error {
		_, err := c.PutImage(t.Context(), &sdk.PutImageInput{RepositoryName: aws.String("app"), ImageManifest: aws.String(manifest)})
		return err
	}
	image := `{"layers": [{"digest": "sha256:0"}]}`
	index := fmt.Sprintf(`{"schemaVersion": 2, "manifests": [{"digest": %q}]}`, digestOf(image))
	if err := put(index); testkit.Code(err) != "ReferencedImagesNotFoundException" {
		t.Errorf("a list before its image: %v", err)
	}
	for _, m := range []string{image, index} {
		if err := put(m); err != nil {
			t.Error(err)
		}
	}
}

// TestStore keeps layers in the data plane's server, through its death.
func TestStore(t *testing.T) {
	t.Parallel()
	program := os.Getenv("POOLHOUSE_PLANE_REGISTRY")
	if program == "" {
		t.Skip("POOLHOUSE_PLANE_REGISTRY names no program: go -C planes/registry build -o DIR ./poolhouse-plane-registry, then POOLHOUSE_PLANE_REGISTRY=DIR/poolhouse-plane-registry")
	}
	died, again := make(chan error, 1), make(chan struct{})
	s, err := images.Open(t.Context(), plane.Options{Program: program, Died: func(err error) {
		died <- err
		close(again)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	at, err := s.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"layer", "", " text"} {
		// What came of a part that broke doesn't count.
		broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := s.Append(ctx, at, broken); err == nil {
			t.Error("a broken part is taken")
		}
		next, err := s.Append(ctx, at, strings.NewReader(part))
		if err != nil || next.Size != at.Size+int64(len(part)) {
			t.Fatal(next, err)
		}
		at = next
	}
	if _, err := s.Append(ctx, ecr.Upload{At: at.At, Size: at.Size + 1}, strings.NewReader("y")); !errors.Is(err, ecr.ErrNoUpload) {
		t.Error(err)
	}
	if err := s.Complete(ctx, at, digestOf("another")); !errors.Is(err, ecr.ErrOtherDigest) {
		t.Error(err)
	}
	if err := s.Complete(ctx, at, digestOf("layer text")); err != nil {
		t.Error(err)
	}
	if _, err := s.Append(ctx, at, strings.NewReader("y")); !errors.Is(err, ecr.ErrNoUpload) {
		t.Error(err)
	}
	if err := s.Complete(ctx, at, digestOf("layer text")); !errors.Is(err, ecr.ErrNoUpload) {
		t.Error(err)
	}
	read := func(header http.Header) string {
		t.Helper()
		resp, err := s.Get(ctx, http.MethodGet, digestOf("layer text"), header)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		_, err = io.Copy(&b, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got := read(nil) + "|" + read(http.Header{"Range": {"bytes=6-"}}); got != "layer text|text" {
		t.Errorf("got %q", got)
	}
	if swept, err := s.Sweep(ctx, []string{digestOf("layer text")}); err != nil || swept != 0 {
		t.Error(swept, err)
	}
	if swept, err := s.Sweep(ctx, []string{}); err != nil || swept != 1 {
		t.Error(swept, err)
	}
	if _, err := s.Get(ctx, http.MethodGet, digestOf("layer text"), nil); err == nil {
		t.Error("what was swept is there")
	}
	pid := s.Server().Process()
	if err := s.Server().Kill(); err != nil {
		t.Error(err)
	}
	<-again
	if err := <-died; err == nil {
		t.Error("it died of nothing")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is left: %v", pid, err)
	}
}
