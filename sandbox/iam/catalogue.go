package iam

// AWSPolicies are the names, with their paths, of those of AWS's managed
// policies that the account knows.
func AWSPolicies() []string { return awsPolicies() }
