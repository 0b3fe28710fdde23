"""What an organization has and uses at this moment, in all and by each user.

reading              the amounts, from the live deployments
serializers, views   the REST API
"""
