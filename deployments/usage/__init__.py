"""What an organization has and uses in all and by each user, now and over time.

reading              the amounts, from the live deployments
over_time            the amounts in a span, from the runs
serializers, views   the REST API
"""
