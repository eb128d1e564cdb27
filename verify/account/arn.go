package account

// OwnARN is an ARN of this account and region.
func (l *Look) OwnARN(service, resource string) string {
	return "arn:" + l.ID.Partition + ":" + service + ":" + l.AWS.Region + ":" + l.ID.Account + ":" + resource
}

// IAMARN is an ARN of IAM in this account.
func (l *Look) IAMARN(resource string) string {
	return "arn:" + l.ID.Partition + ":iam::" + l.ID.Account + ":" + resource
}
