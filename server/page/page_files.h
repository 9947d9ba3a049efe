/* page_files.h - what embed writes: the files of server/page/site, by name in the order of bytes. */
#ifndef LIMOE_SERVER_PAGE_PAGE_FILES_H
#define LIMOE_SERVER_PAGE_PAGE_FILES_H

#include "server/page/page.h"

extern const struct page_file page_files[];
extern const size_t page_files_n;

#endif
