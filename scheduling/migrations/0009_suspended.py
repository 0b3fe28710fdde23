from django.db import migrations, models


class Migration(migrations.Migration):
    """Rename fields, not columns: the former release may still be running."""

    dependencies = [
        ("scheduling", "0008_clocks"),
    ]

    operations = [
        migrations.AlterField(
            model_name="day", name="thrashed",
            field=models.PositiveIntegerField(db_column="thrashed", default=0),
        ),
        migrations.RenameField(model_name="day", old_name="thrashed", new_name="suspended"),
        migrations.AlterField(
            model_name="sample", name="thrashed",
            field=models.PositiveIntegerField(db_column="thrashed", default=0),
        ),
        migrations.RenameField(model_name="sample", old_name="thrashed", new_name="suspended"),
        migrations.AlterField(
            model_name="schedulingcycle", name="set_aside",
            field=models.PositiveIntegerField(
                "preemption suspended for", db_column="set_aside", default=0
            ),
        ),
        migrations.RenameField(
            model_name="schedulingcycle", old_name="set_aside", new_name="suspended"
        ),
    ]
