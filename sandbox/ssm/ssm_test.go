package ssm_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, ssm.TypeParameter, map[string]any{"Name": "/taken", "Type": "String", "Value": "v"})
	for _, c := range []struct {
		name  string
		props map[string]any
		want  string
	}{
		{"plain", map[string]any{"Name": "/p/x", "Type": "StringList", "Value": "a,b"}, ""},
		{"taken", map[string]any{"Name": "/taken", "Type": "String", "Value": "v"}, "ParameterAlreadyExists: The parameter already exists."},
		{"reserved path", map[string]any{"Name": "/aws/x", "Type": "String", "Value": "v"}, "AccessDeniedException: No access to reserved parameter name: /aws/x."},
		{"reserved name", map[string]any{"Name": "/AwsThing", "Type": "String", "Value": "v"}, `ValidationException: Parameter name: can't be prefixed with "aws" or "ssm"`},
		{"odd character", map[string]any{"Name": "/a b", "Type": "String", "Value": "v"}, "ValidationException: Parameter name: "},
		{"path without slash", map[string]any{"Name": "a/b", "Type": "String", "Value": "v"}, "ValidationException: Parameter name must be a fully qualified name."},
		{"deep path", map[string]any{"Name": strings.Repeat("/a", 16), "Type": "String", "Value": "v"}, "HierarchyLevelLimitExceededException: "},
		{"empty value", map[string]any{"Name": "/x", "Type": "String", "Value": ""}, "ValidationException: 1 validation error detected: Value '' at 'value'"},
		{"long value", map[string]any{"Name": "/x", "Type": "String", "Value": strings.Repeat("x", 4097)}, "ValidationException: Standard tier parameters support a maximum parameter value of 4096 characters."},
		{"long value that moves up", map[string]any{"Name": "/x", "Type": "String", "Tier": "Intelligent-Tiering", "Value": strings.Repeat("x", 4097)}, ""},
		{"nested", map[string]any{"Name": "/x", "Type": "String", "Value": "{{ssm:y}}"}, "ValidationException: Parameter value can't nest another parameter."},
		{"pattern", map[string]any{"Name": "/x", "Type": "String", "Value": "abc", "AllowedPattern": "[0-9]+"}, "ParameterPatternMismatchException: Parameter value, cannot be validated against allowedPattern: [0-9]+"},
		{"bad pattern", map[string]any{"Name": "/x", "Type": "String", "Value": "abc", "AllowedPattern": "["}, "InvalidAllowedPatternException: "},
		{"no image", map[string]any{"Name": "/x", "Type": "String", "Value": "abc", "DataType": "aws:ec2:image"}, "ValidationException: The value abc is not an image id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := testkit.Create(s.Clone(nil), ssm.TypeParameter, c.props)
			testkit.Refused(t, err, c.want)
			if c.name == "plain" && (r.ID != "/p/x" || r.Attrs["Value"] != "a,b" || r.Attrs["Arn"] != "arn:aws:ssm:us-east-1:123456789012:parameter/p/x") {
				t.Errorf("got %s %v", r.ID, r.Attrs)
			}
		})
	}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	start := testkit.Dump(s.Account())
	c := sdk.NewFromConfig(testkit.Config(s))
	put := func(name, value string, overwrite bool) (int64, error) {
		out, err := c.PutParameter(ctx, &sdk.PutParameterInput{Name: &name, Value: &value, Type: types.ParameterTypeString, Overwrite: &overwrite})
		if err != nil {
			return 0, err
		}
		return out.Version, nil
	}
	for _, name := range []string{"/p/a", "/p/b", "/p/c/d", "/q"} {
		if v, err := put(name, name+"!", false); err != nil || v != 1 {
			t.Fatal(v, err)
		}
	}
	if _, err := put("/p/a", "again", false); testkit.Code(err) != "ParameterAlreadyExists" {
		t.Errorf("second put: %v", err)
	}
	if v, err := put("/p/a", "again", true); err != nil || v != 2 {
		t.Errorf("overwrite: %d %v", v, err)
	}
	for ref, want := range map[string]string{"/p/a": "again", "/p/a:1": "/p/a!", "/p/a:3": "", "arn:aws:ssm:us-east-1:123456789012:parameter/p/b": "/p/b!", "/none": ""} {
		out, err := c.GetParameter(ctx, &sdk.GetParameterInput{Name: &ref})
		got := ""
		if err == nil {
			got = *out.Parameter.Value
		} else if code := testkit.Code(err); code != "ParameterNotFound" && code != "ParameterVersionNotFound" {
			t.Errorf("%s: %v", ref, err)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", ref, got, want)
		}
	}
	if _, err := c.GetParameter(ctx, &sdk.GetParameterInput{Name: aws.String("/aws/service/x")}); testkit.Code(err) != "NotModelled" {
		t.Errorf("public parameter: %v", err)
	}
	if _, err := c.GetParameters(ctx, &sdk.GetParametersInput{Names: []string{"/p/a", "/aws/service/x"}}); testkit.Code(err) != "NotModelled" {
		t.Errorf("public parameter among others: %v", err)
	}
	names := func(recursive bool) []string {
		var got []string
		for p := sdk.NewGetParametersByPathPaginator(c, &sdk.GetParametersByPathInput{Path: aws.String("/p"), Recursive: &recursive, MaxResults: aws.Int32(1)}); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range page.Parameters {
				got = append(got, *x.Name)
			}
		}
		return got
	}
	if diff := cmp.Diff([]string{"/p/a", "/p/b"}, names(false)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/p/a", "/p/b", "/p/c/d"}, names(true)); diff != "" {
		t.Error(diff)
	}
	described, err := c.DescribeParameters(ctx, &sdk.DescribeParametersInput{ParameterFilters: []types.ParameterStringFilter{{Key: aws.String("Name"), Option: aws.String("Contains"), Values: []string{"c"}}}})
	if err != nil || len(described.Parameters) != 1 || *described.Parameters[0].Name != "/p/c/d" {
		t.Errorf("described %+v %v", described, err)
	}
	tag := &sdk.AddTagsToResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: aws.String("/q"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}
	if _, err := c.AddTagsToResource(ctx, tag); err != nil {
		t.Fatal(err)
	}
	tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceType: tag.ResourceType, ResourceId: tag.ResourceId})
	if err != nil || len(tags.TagList) != 1 || *tags.TagList[0].Value != "b" {
		t.Errorf("tags %+v %v", tags, err)
	}
	if _, err := c.PutParameter(ctx, &sdk.PutParameterInput{Name: aws.String("/s"), Value: aws.String("secret"), Type: types.ParameterTypeSecureString, KeyId: aws.String("alias/none")}); testkit.Code(err) != "InvalidKeyId" {
		t.Errorf("secret with no key: %v", err)
	}
	if _, err := c.PutParameter(ctx, &sdk.PutParameterInput{Name: aws.String("/s"), Value: aws.String("secret"), Type: types.ParameterTypeSecureString}); err != nil {
		t.Fatal(err)
	}
	for decrypt, want := range map[bool]bool{true: true, false: false} {
		out, err := c.GetParameter(ctx, &sdk.GetParameterInput{Name: aws.String("/s"), WithDecryption: &decrypt})
		if err != nil || (*out.Parameter.Value == "secret") != want {
			t.Errorf("decrypt %v: %+v %v", decrypt, out, err)
		}
	}
	out, err := c.DeleteParameters(ctx, &sdk.DeleteParametersInput{Names: []string{"/p/a", "/p/b", "/p/c/d", "/q", "/s", "/none"}})
	if err != nil || len(out.DeletedParameters) != 5 || len(out.InvalidParameters) != 1 {
		t.Errorf("delete: %+v %v", out, err)
	}
	if diff := testkit.DiffDumps(start, testkit.Dump(s.Account())); diff != "" {
		t.Errorf("left behind:\n%s", diff)
	}
}
