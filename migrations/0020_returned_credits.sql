-- Room: Invoicing. An invoice that takes back what promotional credit paid for gives the credit back: its application is
-- below zero. What was granted is what remains and what is applied.
ALTER TABLE credit_application
    DROP CONSTRAINT credit_application_amount,
    ADD CONSTRAINT credit_application_amount CHECK (amount <> 0);
