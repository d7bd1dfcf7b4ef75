package enum InvoicingRoom {}
