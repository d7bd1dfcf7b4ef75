#pragma once
#include <stddef.h>

/// A file of the repository, compiled into the program.
struct embedded_file {
    const char *name;
    const unsigned char *bytes;
    size_t count;
};

/// The migrations in the order of their names; a test compares the list with the folder.
size_t embedded_migration_count(void);
struct embedded_file embedded_migration(size_t index);

/// openapi/openapi.yaml
struct embedded_file embedded_openapi(void);

/// Sources/Invoicing/Documents/Templates/invoice.html.mustache and the style beside it.
struct embedded_file embedded_invoice_template(void);
struct embedded_file embedded_invoice_style(void);

/// Sources/Console/Portal/Pages/portal.html and the style and script beside it.
struct embedded_file embedded_portal_page(void);
struct embedded_file embedded_portal_style(void);
struct embedded_file embedded_portal_script(void);
