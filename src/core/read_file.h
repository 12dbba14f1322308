// Whole files into memory, by the system's calls: a stream's iterators throw when a read fails (a process whose /proc
// entry is gone, a folder in a file's place). Blocking; thread safe.
#pragma once
#include <string>

#include "core/error.h"

namespace mr {

// Errors: not_found (cannot be opened), too_large (more than `limit` bytes), data_loss (cannot be read to its end).
Result<std::string> read_whole(const std::string& path, std::size_t limit);
// What can be read of it, at most `limit` bytes; empty when it cannot be opened. For files of /proc and notes.
std::string read_or_empty(const std::string& path, std::size_t limit = std::size_t{1} << 20);

}  // namespace mr
