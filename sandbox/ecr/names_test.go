package ecr_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
)

// push puts an image into a repository.
func push(t *testing.T, c *sdk.Client, repository, manifest, tag string) error {
	t.Helper()
	in := &sdk.PutImageInput{RepositoryName: &repository, ImageManifest: &manifest}
	if tag != "" {
		in.ImageTag = &tag
	}
	_, err := c.PutImage(t.Context(), in)
	return err
}

// A repository with images is deleted by force only, by a stack only if it is
// to be emptied.
//
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRepository.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ecr-repository.html
func TestRepositoryWithImagesStays(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	testkit.MustCreate(t, s, ecr.TypeRepository, obj{"RepositoryName": "kept"})
	testkit.MustCreate(t, s, ecr.TypeRepository, obj{"RepositoryName": "emptied", "EmptyOnDelete": true})
	for _, name := range []string{"kept", "emptied"} {
		if err := push(t, c, name, `{"n":1}`, "v1"); err != nil {
			t.Fatal(err)
		}
	}
	const full = "RepositoryNotEmptyException: The repository with name 'kept' in registry with id '123456789012' cannot be deleted because it still contains images"
	testkit.Refused(t, testkit.Delete(s, ecr.TypeRepository, "kept"), full)
	testkit.Refused(t, testkit.Delete(s, ecr.TypeRepository, "emptied"), "")
	if _, err := c.DeleteRepository(t.Context(), &sdk.DeleteRepositoryInput{RepositoryName: aws.String("kept")}); testkit.Code(err) != "RepositoryNotEmptyException" {
		t.Error(err)
	}
	if _, err := c.DeleteRepository(t.Context(), &sdk.DeleteRepositoryInput{RepositoryName: aws.String("kept"), Force: true}); err != nil {
		t.Error(err)
	}
}

// In a repository with immutable tags a tag never moves to another image.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
func TestImmutableTags(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{"IMMUTABLE": "ImageTagAlreadyExistsException", "MUTABLE": ""} {
		s := testkit.Sandbox(t, sandbox.Options{})
		c := sdk.NewFromConfig(testkit.Config(s))
		testkit.MustCreate(t, s, ecr.TypeRepository, obj{"RepositoryName": "app", "ImageTagMutability": setting})
		if err := push(t, c, "app", `{"n":1}`, "v1"); err != nil {
			t.Fatal(err)
		}
		if err := push(t, c, "app", `{"n":2}`, "v1"); testkit.Code(err) != want {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// A repository's name is unique in the registry, and in small letters.
//
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
func TestRepositoryNames(t *testing.T) {
	t.Parallel()
	c := sdk.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{})))
	for _, x := range []struct{ name, want string }{{"team/app", ""}, {"team/app", "RepositoryAlreadyExistsException"}, {"Team/app", "InvalidParameterException"}} {
		if _, err := c.CreateRepository(t.Context(), &sdk.CreateRepositoryInput{RepositoryName: &x.name}); testkit.Code(err) != x.want {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

// The key of an encrypted repository must be usable by whoever makes it.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
func TestRepositoryNeedsItsKey(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	off := testkit.MustCreate(t, s, "AWS::KMS::Key", obj{"Enabled": false})
	for _, key := range []string{"alias/none", off.ID} {
		_, err := testkit.Create(s, ecr.TypeRepository, obj{"RepositoryName": "app", "EncryptionConfiguration": obj{"EncryptionType": "KMS", "KmsKey": key}})
		testkit.Refused(t, err, "KmsException: ")
	}
}

// A lifecycle policy expires images within a day after a rule fits them: by
// their age or their number, each image by the first rule that selects it.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
func TestLifecyclePolicyExpiresImages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		c := sdk.NewFromConfig(testkit.Config(s))
		rules := []string{
			`{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPatternList":["keep*"],"countType":"imageCountMoreThan","countNumber":100},"action":{"type":"expire"}}`,
			`{"rulePriority":2,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":3},"action":{"type":"expire"}}`,
			`{"rulePriority":3,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":2},"action":{"type":"expire"}}`,
		}
		testkit.MustCreate(t, s, ecr.TypeRepository, obj{"RepositoryName": "app", "LifecyclePolicy": obj{"LifecyclePolicyText": `{"rules":[` + strings.Join(rules, ",") + `]}`}})
		for i, tag := range []string{"keep1", "v1", "", "v2", "v3"} {
			if err := push(t, c, "app", fmt.Sprintf(`{"n":%d}`, i), tag); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		left := func() string {
			out, err := c.ListImages(t.Context(), &sdk.ListImagesInput{RepositoryName: aws.String("app")})
			if err != nil {
				t.Fatal(err)
			}
			var tags []string
			for _, i := range out.ImageIds {
				tags = append(tags, aws.ToString(i.ImageTag)+".")
			}
			slices.Sort(tags)
			return strings.Join(tags, " ")
		}
		for _, at := range []struct {
			after time.Duration
			want  string
		}{{time.Hour, ". keep1. v1. v2. v3."}, {24 * time.Hour, ". keep1. v2. v3."}, {3 * 24 * time.Hour, "keep1. v2. v3."}, {30 * 24 * time.Hour, "keep1. v2. v3."}} {
			time.Sleep(at.after)
			if got := left(); got != at.want {
				t.Errorf("after %v more: %q, want %q", at.after, got, at.want)
			}
		}
	})
}
