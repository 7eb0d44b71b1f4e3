"""api/ec2/network"""
