"""api/ec2"""
