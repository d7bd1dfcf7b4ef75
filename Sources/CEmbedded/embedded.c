#include "CEmbedded.h"

// #embed is C23. The compiler records each file as a dependency, so that a change of it compiles this file again.
#pragma clang diagnostic ignored "-Wc23-extensions"

#define FILE_ENTRY(file, bytes) { file, bytes, sizeof bytes }

static const unsigned char migration_0001[] = {
#embed "../../migrations/0001_roles.sql"
};
static const unsigned char migration_0002[] = {
#embed "../../migrations/0002_identity.sql"
};
static const unsigned char migration_0003[] = {
#embed "../../migrations/0003_catalog.sql"
};
static const unsigned char migration_0004[] = {
#embed "../../migrations/0004_limits.sql"
};
static const unsigned char migration_0005[] = {
#embed "../../migrations/0005_usage.sql"
};
static const unsigned char migration_0006[] = {
#embed "../../migrations/0006_row_level_security.sql"
};
static const unsigned char migration_0007[] = {
#embed "../../migrations/0007_storage.sql"
};
static const unsigned char migration_0008[] = {
#embed "../../migrations/0008_price_models.sql"
};
static const unsigned char migration_0009[] = {
#embed "../../migrations/0009_subscription_segments.sql"
};
static const unsigned char migration_0010[] = {
#embed "../../migrations/0010_price_book.sql"
};
static const unsigned char migration_0011[] = {
#embed "../../migrations/0011_invoices.sql"
};
static const unsigned char migration_0012[] = {
#embed "../../migrations/0012_large_counters.sql"
};
static const unsigned char migration_0013[] = {
#embed "../../migrations/0013_credits.sql"
};
static const unsigned char migration_0014[] = {
#embed "../../migrations/0014_price_set_read.sql"
};
static const unsigned char migration_0015[] = {
#embed "../../migrations/0015_oauth.sql"
};
static const unsigned char migration_0016[] = {
#embed "../../migrations/0016_api_keys.sql"
};
static const unsigned char migration_0017[] = {
#embed "../../migrations/0017_portal_sessions.sql"
};
static const unsigned char migration_0018[] = {
#embed "../../migrations/0018_identity_providers.sql"
};
static const unsigned char migration_0019[] = {
#embed "../../migrations/0019_audit_lookups.sql"
};
static const unsigned char migration_0020[] = {
#embed "../../migrations/0020_returned_credits.sql"
};
static const unsigned char migration_0021[] = {
#embed "../../migrations/0021_invoice_lists.sql"
};
static const unsigned char migration_0022[] = {
#embed "../../migrations/0022_partition_seen_whole.sql"
};
static const unsigned char migration_0023[] = {
#embed "../../migrations/0023_uncosted_usage.sql"
};
static const unsigned char migration_0024[] = {
#embed "../../migrations/0024_api_key_secret.sql"
};
static const unsigned char migration_0026[] = {
#embed "../../migrations/0026_list_indexes.sql"
};
static const unsigned char migration_0027[] = {
#embed "../../migrations/0027_alerts.sql"
};
static const unsigned char migration_0028[] = {
#embed "../../migrations/0028_webhooks.sql"
};
static const unsigned char migration_0029[] = {
#embed "../../migrations/0029_budgets.sql"
};
static const unsigned char migration_0030[] = {
#embed "../../migrations/0030_admission.sql"
};
static const unsigned char migration_0031[] = {
#embed "../../migrations/0031_exact_uncosted_usage.sql"
};
static const unsigned char migration_0032[] = {
#embed "../../migrations/0032_admission_storage.sql"
};
static const unsigned char migration_0033[] = {
#embed "../../migrations/0033_reservation_holds.sql"
};
static const unsigned char migration_0034[] = {
#embed "../../migrations/0034_told_once.sql"
};
static const unsigned char migration_0035[] = {
#embed "../../migrations/0035_extensions_rates_and_budget_starts.sql"
};
static const unsigned char migration_0036[] = {
#embed "../../migrations/0036_unpriced_lookup.sql"
};
static const unsigned char migration_0037[] = {
#embed "../../migrations/0037_limits_and_alerts.sql"
};
static const unsigned char migration_0038[] = {
#embed "../../migrations/0038_subscription_start.sql"
};
static const unsigned char migration_0039[] = {
#embed "../../migrations/0039_closing_put_off.sql"
};
static const unsigned char migration_0040[] = {
#embed "../../migrations/0040_scope_values.sql"
};
static const unsigned char migration_0041[] = {
#embed "../../migrations/0041_rate_paces.sql"
};
static const unsigned char migration_0042[] = {
#embed "../../migrations/0042_alert_lookup.sql"
};
static const unsigned char migration_0043[] = {
#embed "../../migrations/0043_budget_changes.sql"
};
static const unsigned char migration_0044[] = {
#embed "../../migrations/0044_subscription_extensions.sql"
};
static const unsigned char migration_0045[] = {
#embed "../../migrations/0045_floored_charges.sql"
};
static const unsigned char migration_0046[] = {
#embed "../../migrations/0046_alerts_waiting.sql"
};
static const unsigned char migration_0047[] = {
#embed "../../migrations/0047_hold_changes.sql"
};
static const unsigned char migration_0048[] = {
#embed "../../migrations/0048_repeated_reservations.sql"
};
static const unsigned char migration_0049[] = {
#embed "../../migrations/0049_owner_reads_partitions.sql"
};
static const unsigned char migration_0050[] = {
#embed "../../migrations/0050_refused_transactions.sql"
};
static const unsigned char migration_0051[] = {
#embed "../../migrations/0051_turns_of_tenants.sql"
};
static const unsigned char migration_0052[] = {
#embed "../../migrations/0052_reversals.sql"
};
static const unsigned char migration_0053[] = {
#embed "../../migrations/0053_archived_budgets_and_numbers_of_drafts.sql"
};
static const unsigned char migration_0054[] = {
#embed "../../migrations/0054_owner_reads_every_partition.sql"
};
static const unsigned char migration_0055[] = {
#embed "../../migrations/0055_service_settings.sql"
};
static const unsigned char migration_0056[] = {
#embed "../../migrations/0056_invoices_put_off.sql"
};
static const unsigned char migration_0057[] = {
#embed "../../migrations/0057_turns_of_events.sql"
};
static const unsigned char migration_0058[] = {
#embed "../../migrations/0058_mitigations.sql"
};
static const unsigned char migration_0059[] = {
#embed "../../migrations/0059_overriding_budgets.sql"
};
static const unsigned char migration_0060[] = {
#embed "../../migrations/0060_limit_windows.sql"
};
static const unsigned char migration_0061[] = {
#embed "../../migrations/0061_partly_settled_reservations.sql"
};
static const unsigned char openapi[] = {
#embed "../../openapi/openapi.yaml"
};
static const unsigned char invoice_template[] = {
#embed "../Invoicing/Documents/Templates/invoice.html.mustache"
};
static const unsigned char invoice_style[] = {
#embed "../Invoicing/Documents/Templates/invoice.css"
};
static const unsigned char portal_page[] = {
#embed "../Console/Portal/Pages/portal.html"
};
static const unsigned char portal_style[] = {
#embed "../Console/Portal/Pages/portal.css"
};
static const unsigned char portal_script[] = {
#embed "../Console/Portal/Pages/portal.js"
};

static const struct embedded_file migrations[] = {
    FILE_ENTRY("0001_roles.sql", migration_0001),
    FILE_ENTRY("0002_identity.sql", migration_0002),
    FILE_ENTRY("0003_catalog.sql", migration_0003),
    FILE_ENTRY("0004_limits.sql", migration_0004),
    FILE_ENTRY("0005_usage.sql", migration_0005),
    FILE_ENTRY("0006_row_level_security.sql", migration_0006),
    FILE_ENTRY("0007_storage.sql", migration_0007),
    FILE_ENTRY("0008_price_models.sql", migration_0008),
    FILE_ENTRY("0009_subscription_segments.sql", migration_0009),
    FILE_ENTRY("0010_price_book.sql", migration_0010),
    FILE_ENTRY("0011_invoices.sql", migration_0011),
    FILE_ENTRY("0012_large_counters.sql", migration_0012),
    FILE_ENTRY("0013_credits.sql", migration_0013),
    FILE_ENTRY("0014_price_set_read.sql", migration_0014),
    FILE_ENTRY("0015_oauth.sql", migration_0015),
    FILE_ENTRY("0016_api_keys.sql", migration_0016),
    FILE_ENTRY("0017_portal_sessions.sql", migration_0017),
    FILE_ENTRY("0018_identity_providers.sql", migration_0018),
    FILE_ENTRY("0019_audit_lookups.sql", migration_0019),
    FILE_ENTRY("0020_returned_credits.sql", migration_0020),
    FILE_ENTRY("0021_invoice_lists.sql", migration_0021),
    FILE_ENTRY("0022_partition_seen_whole.sql", migration_0022),
    FILE_ENTRY("0023_uncosted_usage.sql", migration_0023),
    FILE_ENTRY("0024_api_key_secret.sql", migration_0024),
    FILE_ENTRY("0026_list_indexes.sql", migration_0026),
    FILE_ENTRY("0027_alerts.sql", migration_0027),
    FILE_ENTRY("0028_webhooks.sql", migration_0028),
    FILE_ENTRY("0029_budgets.sql", migration_0029),
    FILE_ENTRY("0030_admission.sql", migration_0030),
    FILE_ENTRY("0031_exact_uncosted_usage.sql", migration_0031),
    FILE_ENTRY("0032_admission_storage.sql", migration_0032),
    FILE_ENTRY("0033_reservation_holds.sql", migration_0033),
    FILE_ENTRY("0034_told_once.sql", migration_0034),
    FILE_ENTRY("0035_extensions_rates_and_budget_starts.sql", migration_0035),
    FILE_ENTRY("0036_unpriced_lookup.sql", migration_0036),
    FILE_ENTRY("0037_limits_and_alerts.sql", migration_0037),
    FILE_ENTRY("0038_subscription_start.sql", migration_0038),
    FILE_ENTRY("0039_closing_put_off.sql", migration_0039),
    FILE_ENTRY("0040_scope_values.sql", migration_0040),
    FILE_ENTRY("0041_rate_paces.sql", migration_0041),
    FILE_ENTRY("0042_alert_lookup.sql", migration_0042),
    FILE_ENTRY("0043_budget_changes.sql", migration_0043),
    FILE_ENTRY("0044_subscription_extensions.sql", migration_0044),
    FILE_ENTRY("0045_floored_charges.sql", migration_0045),
    FILE_ENTRY("0046_alerts_waiting.sql", migration_0046),
    FILE_ENTRY("0047_hold_changes.sql", migration_0047),
    FILE_ENTRY("0048_repeated_reservations.sql", migration_0048),
    FILE_ENTRY("0049_owner_reads_partitions.sql", migration_0049),
    FILE_ENTRY("0050_refused_transactions.sql", migration_0050),
    FILE_ENTRY("0051_turns_of_tenants.sql", migration_0051),
    FILE_ENTRY("0052_reversals.sql", migration_0052),
    FILE_ENTRY("0053_archived_budgets_and_numbers_of_drafts.sql", migration_0053),
    FILE_ENTRY("0054_owner_reads_every_partition.sql", migration_0054),
    FILE_ENTRY("0055_service_settings.sql", migration_0055),
    FILE_ENTRY("0056_invoices_put_off.sql", migration_0056),
    FILE_ENTRY("0057_turns_of_events.sql", migration_0057),
    FILE_ENTRY("0058_mitigations.sql", migration_0058),
    FILE_ENTRY("0059_overriding_budgets.sql", migration_0059),
    FILE_ENTRY("0060_limit_windows.sql", migration_0060),
    FILE_ENTRY("0061_partly_settled_reservations.sql", migration_0061),
};

size_t embedded_migration_count(void) {
    return sizeof migrations / sizeof migrations[0];
}

struct embedded_file embedded_migration(size_t index) {
    return migrations[index];
}

struct embedded_file embedded_openapi(void) {
    return (struct embedded_file)FILE_ENTRY("openapi.yaml", openapi);
}

struct embedded_file embedded_invoice_template(void) {
    return (struct embedded_file)FILE_ENTRY("invoice.html.mustache", invoice_template);
}

struct embedded_file embedded_invoice_style(void) {
    return (struct embedded_file)FILE_ENTRY("invoice.css", invoice_style);
}

struct embedded_file embedded_portal_page(void) {
    return (struct embedded_file)FILE_ENTRY("portal.html", portal_page);
}

struct embedded_file embedded_portal_style(void) {
    return (struct embedded_file)FILE_ENTRY("portal.css", portal_style);
}

struct embedded_file embedded_portal_script(void) {
    return (struct embedded_file)FILE_ENTRY("portal.js", portal_script);
}
