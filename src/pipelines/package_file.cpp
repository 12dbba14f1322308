#include "pipelines/package_file.h"

#include <archive.h>
#include <archive_entry.h>

#include "text/text.h"

namespace mr::pipelines {

namespace {

std::unexpected<Error> bad_file(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

std::unexpected<Error> large_file(std::size_t size) {
  return fail(Code::too_large,
              fmt::format("File size too large ({} bytes). Maximum supported size: {}. Consider moving large embedded "
                          "artifacts or notebooks or Python code into a container image or object store.",
                          size, kPackageLimit));
}

// The value of `name=` in a header's parameters, quoted or not.
std::optional<std::string> header_parameter(std::string_view header, std::string_view name) {
  std::size_t at = header.find(';');
  while (at != std::string_view::npos) {
    ++at;
    while (at < header.size() && (header[at] == ' ' || header[at] == '\t')) ++at;
    const auto equals = header.find('=', at);
    if (equals == std::string_view::npos) return std::nullopt;
    const bool found = text::iequals(text::trim(header.substr(at, equals - at)), name);
    std::string value;
    at = equals + 1;
    if (at < header.size() && header[at] == '"') {
      for (++at; at < header.size() && header[at] != '"'; ++at) {
        if (header[at] == '\\' && at + 1 < header.size() && (header[at + 1] == '"' || header[at + 1] == '\\')) ++at;
        value += header[at];
      }
      at = header.find(';', at);
    } else {
      const auto end = header.find(';', at);
      value = text::trim(header.substr(at, end == std::string_view::npos ? end : end - at));
      at = end;
    }
    if (found) return value;
  }
  return std::nullopt;
}

bool yaml_name(std::string_view name) { return name.ends_with(".yaml") || name.ends_with(".yml"); }

struct ArchiveCloser {
  void operator()(archive* a) const { archive_read_free(a); }
};
using OpenArchive = std::unique_ptr<archive, ArchiveCloser>;

OpenArchive open_archive(std::string_view bytes, bool zip) {
  OpenArchive a(archive_read_new());
  if (zip) {
    archive_read_support_format_zip(a.get());
  } else {
    archive_read_support_filter_gzip(a.get());
    archive_read_support_format_tar(a.get());
  }
  if (archive_read_open_memory(a.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) return nullptr;
  return a;
}

Result<std::string> entry_text(archive* a, std::string_view kind) {
  std::string out;
  char piece[64U << 10];
  for (;;) {
    const auto n = archive_read_data(a, piece, sizeof piece);
    if (n == 0) return out;
    if (n < 0) return bad_file(fmt::format("Error reading pipeline YAML from the {} file", kind));
    if (out.size() + static_cast<std::size_t>(n) > kPackageLimit)
      return large_file(out.size() + static_cast<std::size_t>(n));
    out.append(piece, static_cast<std::size_t>(n));
  }
}

Result<std::string> archive_text(std::string_view bytes, bool zip) {
  const std::string_view kind = zip ? "zip" : "tarball";
  const auto broken = [&] {
    return bad_file(fmt::format("Error extracting pipeline from the {0} file. Not a valid {0} file", kind));
  };
  auto a = open_archive(bytes, zip);
  if (!a) return broken();
  std::string first;
  archive_entry* entry = nullptr;
  int entries = 0;
  for (;;) {
    const int r = archive_read_next_header(a.get(), &entry);
    if (r == ARCHIVE_EOF) break;
    if (r != ARCHIVE_OK && r != ARCHIVE_WARN) return broken();
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr || ++entries > 10'000) return broken();
    if (entries == 1) first = name;
    if (std::string_view(name) == "pipeline.yaml") return entry_text(a.get(), kind);
  }
  if (entries == 0) return bad_file(fmt::format("Error extracting pipeline from the {0} file. Empty {0} file", kind));
  if (!yaml_name(first))
    return bad_file(fmt::format(
        "Error extracting pipeline from the {0} file. Expecting a pipeline.yaml file inside the {0}. Got: {1}", kind,
        first));
  a = open_archive(bytes, zip);
  const int r = a ? archive_read_next_header(a.get(), &entry) : ARCHIVE_FATAL;
  if (r != ARCHIVE_OK && r != ARCHIVE_WARN) return broken();
  return entry_text(a.get(), kind);
}

}  // namespace

Result<FormFile> form_file(std::string_view content_type, std::string_view body, std::string_view field) {
  if (!text::lower(content_type.substr(0, content_type.find(';'))).starts_with("multipart/form-data"))
    return bad_file("request Content-Type isn't multipart/form-data");
  const auto boundary = header_parameter(content_type, "boundary");
  if (!boundary || boundary->empty() || boundary->size() > 200)
    return bad_file("no multipart boundary param in Content-Type");
  const std::string mark = "--" + *boundary, next_mark = "\r\n" + mark;
  auto at = body.starts_with(mark) ? 0 : body.find(next_mark);
  if (at == std::string_view::npos) return bad_file("multipart: NextPart: EOF");
  at += body.starts_with(mark) ? mark.size() : next_mark.size();
  for (int parts = 0; parts < 100; ++parts) {
    if (body.substr(at).starts_with("--")) break;  // the end
    const auto line = body.find("\r\n", at);
    if (line == std::string_view::npos) break;
    const auto head_end = body.find("\r\n\r\n", line);
    if (head_end == std::string_view::npos || head_end - line > 16U << 10) break;
    const auto data = head_end + 4;
    // A part without content: its data ends where the next mark's line break began.
    const auto end = body.find(next_mark, data - 2);
    if (end == std::string_view::npos) return bad_file("multipart: NextPart: unexpected EOF");
    auto head = body.substr(line + 2, head_end - line - 2);
    std::string disposition;
    for (std::size_t h = 0; h <= head.size();) {
      const auto stop = std::min(head.find("\r\n", h), head.size());
      const auto one = head.substr(h, stop - h);
      const auto colon = one.find(':');
      if (colon != std::string_view::npos && text::iequals(text::trim(one.substr(0, colon)), "Content-Disposition"))
        disposition = text::trim(one.substr(colon + 1));
      h = stop + 2;
    }
    const auto name = header_parameter(disposition, "name");
    auto file = header_parameter(disposition, "filename");
    if (name && *name == field && file) {
      if (const auto slash = file->find_last_of("/\\"); slash != std::string::npos) file->erase(0, slash + 1);
      return FormFile{*std::move(file), end > data ? body.substr(data, end - data) : std::string_view{}};
    }
    at = end + next_mark.size();
  }
  return bad_file("http: no such file");
}

Result<std::string> package_text(std::string_view name, std::string_view bytes) {
  if (bytes.size() > kPackageLimit) return large_file(bytes.size());
  if (yaml_name(name) || name.ends_with(".json")) return std::string(bytes);
  if (bytes.size() > 2 && bytes.starts_with("PK")) return archive_text(bytes, true);
  if (bytes.size() > 2 && bytes.starts_with("\x1f\x8b")) return archive_text(bytes, false);
  return bad_file("Unexpected pipeline file format. Support .zip, .tar.gz, .json or YAML");
}

}  // namespace mr::pipelines
