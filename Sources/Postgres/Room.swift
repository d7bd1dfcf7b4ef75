package enum PostgresRoom {}
