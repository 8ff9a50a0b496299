import asyncio
from logging.config import fileConfig

from alembic import context

fileConfig(context.config.config_file_name)  # SP505


async def online():
    context.run_migrations()


asyncio.run(online())
