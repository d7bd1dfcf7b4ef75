package enum LimitsRoom {}
