package enum IdentityRoom {}
