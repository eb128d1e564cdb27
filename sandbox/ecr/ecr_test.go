package ecr_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
)

type obj = map[string]any

// lifecycle is a policy with one rule; change replaces a part of it.
func lifecycle(from, to string) obj {
	text := `{"rules":[{"rulePriority":1,"description":"images without a tag","selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":14},"action":{"type":"expire"}}]}`
	return obj{"RepositoryName": "new", "LifecyclePolicy": obj{"LifecyclePolicyText": strings.Replace(text, from, to, 1)}}
}

// A repository is refused whose name, key, tag settings, policy or lifecycle policy
// ECR does not take.
//
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, ecr.TypeRepository, obj{"RepositoryName": "taken"})
	const policy = "InvalidParameterException: Invalid parameter at 'LifecyclePolicyText'"
	for _, c := range []struct {
		name  string
		props obj
		want  string
	}{
		{"plain", obj{"RepositoryName": "team/app_1", "ImageTagMutability": "IMMUTABLE"}, ""},
		{"taken", obj{"RepositoryName": "taken"}, "RepositoryAlreadyExistsException: The repository with name 'taken' already exists in the registry with id '123456789012'"},
		{"capitals", obj{"RepositoryName": "Team"}, "InvalidParameterException: Invalid parameter at 'repositoryName'"},
		{"no key", obj{"RepositoryName": "new", "EncryptionConfiguration": obj{"EncryptionType": "KMS", "KmsKey": "alias/none"}}, "KmsException: "},
		{"key without KMS", obj{"RepositoryName": "new", "EncryptionConfiguration": obj{"EncryptionType": "AES256", "KmsKey": "alias/aws/ecr"}}, "InvalidParameterException: "},
		{"exclusion without setting", obj{"RepositoryName": "new", "ImageTagMutabilityExclusionFilters": []any{obj{"ImageTagMutabilityExclusionFilterType": "WILDCARD", "ImageTagMutabilityExclusionFilterValue": "dev*"}}}, "InvalidParameterException: "},
		{"policy with resource", obj{"RepositoryName": "new", "RepositoryPolicyText": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:*","Resource":"*"}]}`}, "InvalidParameterException: Invalid parameter at 'PolicyText'"},
		{"lifecycle", lifecycle("", ""), ""},
		{"lifecycle that isn't JSON", lifecycle("{", "("), policy},
		{"lifecycle with unknown member", lifecycle("countUnit", "countUnits"), policy},
		{"lifecycle without unit", lifecycle(`"countUnit":"days",`, ""), policy},
		{"lifecycle of tags without names", lifecycle("untagged", "tagged"), policy},
		{"lifecycle too short", obj{"RepositoryName": "new", "LifecyclePolicy": obj{"LifecyclePolicyText": "{}"}}, policy},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := testkit.Create(s.Clone(nil), ecr.TypeRepository, c.props)
			testkit.Refused(t, err, c.want)
			if c.name == "plain" && (r.Attrs["Arn"] != "arn:aws:ecr:us-east-1:123456789012:repository/team/app_1" || r.Attrs["RepositoryUri"] != "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app_1") {
				t.Errorf("attributes %v", r.Attrs)
			}
		})
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	start := testkit.Dump(s.Account())
	c := sdk.NewFromConfig(testkit.Config(s))
	name := aws.String("team/app")
	made, err := c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityImmutable, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	if err != nil || *made.Repository.RepositoryUri != "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app" {
		t.Fatalf("create: %+v %v", made, err)
	}
	put := func(manifest, tag string) (string, error) {
		in := &sdk.PutImageInput{RepositoryName: name, ImageManifest: &manifest, ImageManifestMediaType: aws.String("application/vnd.oci.image.manifest.v1+json")}
		if tag != "" {
			in.ImageTag = &tag
		}
		out, err := c.PutImage(ctx, in)
		if err != nil {
			return testkit.Code(err), err
		}
		return *out.Image.ImageId.ImageDigest, nil
	}
	first, err := put(`{"n":1}`, "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ manifest, tag, want string }{
		{`{"n":1}`, "v1", "ImageAlreadyExistsException"},
		{`{"n":2}`, "v1", "ImageTagAlreadyExistsException"},
		{`{"n":1}`, "latest", first},
		{`no`, "x", "InvalidParameterException"},
	} {
		if got, _ := put(step.manifest, step.tag); got != step.want {
			t.Errorf("put %s as %s: got %s, want %s", step.manifest, step.tag, got, step.want)
		}
	}
	if _, err := c.PutImageTagMutability(ctx, &sdk.PutImageTagMutabilityInput{RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityMutable}); err != nil {
		t.Fatal(err)
	}
	if _, err := put(`{"n":2}`, "v1"); err != nil {
		t.Errorf("move a mutable tag: %v", err)
	}
	list, err := c.ListImages(ctx, &sdk.ListImagesInput{RepositoryName: name})
	if err != nil || len(list.ImageIds) != 2 {
		t.Errorf("list: %+v %v", list, err)
	}
	if _, err := c.DeleteRepository(ctx, &sdk.DeleteRepositoryInput{RepositoryName: name}); testkit.Code(err) != "RepositoryNotEmptyException" {
		t.Errorf("delete of a full repository: %v", err)
	}
	testkit.Refused(t, testkit.Delete(s, ecr.TypeRepository, *name), "RepositoryNotEmptyException: The repository with name 'team/app' in registry with id '123456789012' cannot be deleted because it still contains images")
	deleted, err := c.BatchDeleteImage(ctx, &sdk.BatchDeleteImageInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("latest")}, {ImageTag: aws.String("none")}}})
	if err != nil || len(deleted.ImageIds) != 1 || len(deleted.Failures) != 1 || deleted.Failures[0].FailureCode != types.ImageFailureCodeImageNotFound {
		t.Errorf("delete images: %+v %v", deleted, err)
	}
	got, err := c.BatchGetImage(ctx, &sdk.BatchGetImageInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}}})
	if err != nil || len(got.Images) != 1 || *got.Images[0].ImageManifest != `{"n":2}` {
		t.Errorf("get image: %+v %v", got, err)
	}
	token, err := c.GetAuthorizationToken(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user, _ := base64.StdEncoding.DecodeString(*token.AuthorizationData[0].AuthorizationToken); !strings.HasPrefix(string(user), "AWS:") {
		t.Errorf("token %s", user)
	}
	if _, err := c.DeleteRepository(ctx, &sdk.DeleteRepositoryInput{RepositoryName: name, Force: true}); err != nil {
		t.Error(err)
	}
	if _, err := c.DescribeRepositories(ctx, &sdk.DescribeRepositoriesInput{RepositoryNames: []string{*name}}); testkit.Code(err) != "RepositoryNotFoundException" {
		t.Errorf("describe of a deleted repository: %v", err)
	}
	if diff := testkit.DiffDumps(start, testkit.Dump(s.Account())); diff != "" {
		t.Errorf("left behind:\n%s", diff)
	}
}

// A stack empties a repository that is to be emptied before it deletes it.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ecr-repository.html
func TestEmptyOnDelete(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, ecr.TypeRepository, obj{"RepositoryName": "app", "EmptyOnDelete": true})
	if _, err := sdk.NewFromConfig(testkit.Config(s)).PutImage(context.Background(), &sdk.PutImageInput{RepositoryName: aws.String("app"), ImageManifest: aws.String("{}")}); err != nil {
		t.Fatal(err)
	}
	testkit.Refused(t, testkit.Delete(s, ecr.TypeRepository, "app"), "")
	_ = s.Account().Do(func(tx *account.Tx) error {
		if left := tx.List(ecr.TypeImage); len(left) != 0 {
			t.Errorf("%d images left", len(left))
		}
		return nil
	})
}

// TestScanning says how repositories are scanned in effect.
func TestScanning(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, ecr.TypeRepository, obj{"RepositoryName": "on", "ImageScanningConfiguration": obj{"ScanOnPush": true}})
	testkit.MustCreate(t, s, ecr.TypeRepository, obj{"RepositoryName": "off"})
	c := sdk.NewFromConfig(testkit.Config(s))
	out, err := c.BatchGetRepositoryScanningConfiguration(ctx, &sdk.BatchGetRepositoryScanningConfigurationInput{RepositoryNames: []string{"on", "off", "none"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.ScanningConfigurations) != 2 || out.ScanningConfigurations[0].ScanFrequency != types.ScanFrequencyScanOnPush || out.ScanningConfigurations[1].ScanFrequency != types.ScanFrequencyManual {
		t.Errorf("scanning %+v", out.ScanningConfigurations)
	}
	if len(out.Failures) != 1 || out.Failures[0].FailureCode != types.ScanningConfigurationFailureCodeRepositoryNotFound {
		t.Errorf("failures %+v", out.Failures)
	}
	_, err = c.BatchGetRepositoryScanningConfiguration(ctx, &sdk.BatchGetRepositoryScanningConfigurationInput{RepositoryNames: make([]string, 26)})
	if testkit.Code(err) != "InvalidParameterException" {
		t.Errorf("26 names: %v", err)
	}
}
