// Package images moves the container images of a bundle to the ECR repositories of
// a deployment, and images from one registry to another.
//
// A bundle is one stream, perhaps compressed, in which layers lie in any order. So
// it is looked through first, by package bundle, and it is known then what there is;
// [Prepare] works out which repository each image goes to, asks what is there, and
// refuses what can't be. Then [Plan.Push] lets the bundle run through, and sends each
// layer that is missing as it comes by. Nothing is unpacked to disk, and what is held in
// memory is bounded, whatever the size.
// The registry compares what comes with its digest; what it does not take is compared
// here too in the next pass. So layers needn't be compared before, and a bundle may have
// been read with [bundle.Options.Skim].
//
// A layer goes to the first repository that lacks it, and is mounted from there
// into the others. Where the registry doesn't mount, it goes to all that lack it at
// the same time. A manifest is put when all its layers are there, and an index when
// all its manifests are: no image can be seen that isn't whole. What fails on the
// way comes by again in another pass; so the next run too sends again at most what
// was on its way.
package images

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Repository is one that images go to.
type Repository struct {
	// Name is as ECR has it, and Short as deployment.yaml has it.
	Name, Short string
	// URI is the name that its images are pulled by, once it exists.
	URI string
	// There tells that it exists, and Mutable that its tags can be moved.
	There, Mutable bool
}

// Registry is where the images of a deployment go.
type Registry struct {
	// Client is nil while none of the repositories exists.
	Client       *registry.Client
	Repositories []Repository
	// Alone: layers are not mounted from one repository into others.
	Alone bool
}

// answerTime is how long the registry may take to begin its answer: it looks at a
// whole layer before it says yes.
const answerTime = 10 * time.Minute

// Open finds the registry and the repositories of a deployment. It only reads. What
// is written to the registry later asks the clients' gate, as their own calls do.
func Open(ctx context.Context, a *architecture.Architecture, c *awsapi.Clients) (*Registry, error) {
	c = c.Watched()
	there := map[string]types.Repository{}
	pages := ecr.NewDescribeRepositoriesPaginator(c.ECR, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1000)})
	for page, err := range awsapi.Pages(ctx, pages) {
		if err != nil {
			return nil, fmt.Errorf("look for the repositories: %w", err)
		}
		for _, r := range page.Repositories {
			there[aws.ToString(r.RepositoryName)] = r
		}
	}
	g := &Registry{Alone: alone(ctx, c)}
	for _, short := range a.Config.Registry.Repositories {
		r := Repository{Name: a.RepositoryName(short), Short: short}
		if is, ok := there[r.Name]; ok {
			r.URI = aws.ToString(is.RepositoryUri)
			r.There, r.Mutable = true, is.ImageTagMutability == types.ImageTagMutabilityMutable
			if host, _, ok := strings.Cut(aws.ToString(is.RepositoryUri), "/"); ok && g.Client == nil {
				g.Client = registry.New(host, c.Web(answerTime), c.Clock, ECR(c))
				g.Client.Guard = c.Gate()
			}
		}
		g.Repositories = append(g.Repositories, r)
	}
	return g, nil
}

// alone tells that the account has the mounting of layers switched off, as it is
// unless somebody switches it on. Who may not ask finds out on the way.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
func alone(ctx context.Context, c *awsapi.Clients) bool {
	out, err := c.ECR.GetAccountSetting(ctx, &ecr.GetAccountSettingInput{Name: aws.String("BLOB_MOUNTING")})
	return err == nil && aws.ToString(out.Value) != "ENABLED"
}

// early is how long before its end a token is not used any more: an upload that
// begins goes on with it.
const early = time.Hour

// ECR logs in to the registry of an account and region. A token is good for twelve
// hours; another is got before it ends.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
func ECR(c *awsapi.Clients) registry.Login {
	var (
		mu    sync.Mutex
		got   registry.Credentials
		until time.Time
	)
	return func(ctx context.Context, fresh bool) (registry.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		if !fresh && c.Clock.Now().Before(until) {
			return got, nil
		}
		out, err := c.ECR.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
		if err != nil {
			return got, err
		}
		if len(out.AuthorizationData) == 0 {
			return got, errors.New("ECR gives no token")
		}
		pair, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
		user, password, ok := strings.Cut(string(pair), ":")
		if err != nil || !ok {
			return got, errors.New("ECR gives a token of an unknown form")
		}
		got = registry.Credentials{User: user, Password: password}
		until = aws.ToTime(out.AuthorizationData[0].ExpiresAt).Add(-early)
		return got, nil
	}
}

// of is the repository for an image: the longest end of its name that is one. An
// image acme/platform/core-api goes to platform/core-api, or else to core-api.
func (g *Registry) of(ref image.Reference) (Repository, bool) {
	for path := ref.Path(); ; {
		if i := slices.IndexFunc(g.Repositories, func(r Repository) bool { return r.Short == path }); i >= 0 {
			return g.Repositories[i], true
		}
		_, rest, more := strings.Cut(path, "/")
		if !more {
			return Repository{}, false
		}
		path = rest
	}
}

// last is the last part of an image's name.
func last(ref image.Reference) string {
	path := ref.Path()
	return path[strings.LastIndexByte(path, '/')+1:]
}

// tagOf is the tag that a name stands for; none if it names a digest alone.
func tagOf(ref image.Reference) (string, bool) {
	switch {
	case ref.Tag != "":
		return ref.Tag, true
	case ref.Digest != "":
		return "", false
	}
	return "latest", true
}
