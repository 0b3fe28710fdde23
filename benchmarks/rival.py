"""The rival of the bench `submissions`: a small FastAPI and SQLAlchemy application.

It does what a service without a scheduler would do: identify the caller by a token, validate the
body, insert one row and return it.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, ForeignKey, Index, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_SCHEMA = "rival"


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    __table_args__ = {"schema": _SCHEMA}

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)


class Deployment(Base):
    __tablename__ = "deployment"
    __table_args__ = (Index("rival_status", "created_by", "status"), {"schema": _SCHEMA})

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    created_by: Mapped[int] = mapped_column(ForeignKey(User.id))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    status: Mapped[str] = mapped_column(default="pending")
    name: Mapped[str]
    image: Mapped[str]
    command: Mapped[list[str]] = mapped_column(JSONB)
    env: Mapped[dict[str, str]] = mapped_column(JSONB)
    cpu: Mapped[float]
    ram_mib: Mapped[int] = mapped_column(BigInteger)
    gpu: Mapped[int]
    priority: Mapped[int]


class Submission(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    image: Annotated[str, Field(min_length=1, max_length=500)]
    command: list[str] = []
    env: dict[str, str] = {}
    cpu: Annotated[float, Field(gt=0)]
    ram_mib: Annotated[int, Field(gt=0)]
    gpu: Annotated[int, Field(ge=0)] = 0
    priority: Annotated[int, Field(ge=1, le=100)] = 50


class Answer(Submission):
    model_config = ConfigDict(from_attributes=True)

    id: int
    created_by: int
    created_at: datetime
    status: str


engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgres://", "postgresql+asyncpg://"),
    pool_size=8, max_overflow=0,
)  # fmt: skip
sessions = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=_lifespan)


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def caller(session: Session, authorization: Annotated[str, Header()]) -> User:
    token = authorization.removeprefix("Bearer ")
    found = await session.execute(select(User).where(User.token == token))
    user: User | None = found.scalar_one_or_none()
    if user is None:
        raise HTTPException(401)
    return user


@app.post("/deployments", status_code=201, response_model=Answer)
async def submit(
    submission: Submission, session: Session, user: Annotated[User, Depends(caller)]
) -> Any:
    deployment = Deployment(created_by=user.id, **submission.model_dump())
    session.add(deployment)
    await session.commit()
    return deployment


async def prepare(token: str) -> None:
    """Create the tables and a user."""
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"CREATE SCHEMA {_SCHEMA}")
        await connection.run_sync(Base.metadata.create_all)
    async with sessions() as opened:
        opened.add(User(token=token))
        await opened.commit()
    await engine.dispose()


if __name__ == "__main__":
    import asyncio
    import sys

    asyncio.run(prepare(sys.argv[1]))
