#include "objects/store_rows.h"

#include <boost/json/array.hpp>

#include "json/parse.h"

namespace mr::objects {

std::string to_info(const Metadata& metadata, const std::map<std::string, std::string>& tags, const Checksum& sum,
                    const std::vector<std::uint64_t>& parts) {
  boost::json::object o;
  if (!metadata.empty()) {
    auto& m = o["metadata"].emplace_object();
    for (const auto& [k, v] : metadata) m[k] = v;
  }
  if (!tags.empty()) {
    auto& t = o["tags"].emplace_object();
    for (const auto& [k, v] : tags) t[k] = v;
  }
  if (sum.algorithm != ChecksumAlgorithm::none) {
    o["algorithm"] = std::string(checksum_name(sum.algorithm));
    o["checksum"] = sum.value;
    o["composite"] = sum.composite;
  }
  if (!parts.empty()) {
    auto& p = o["parts"].emplace_array();
    for (auto size : parts) p.push_back(size);
  }
  return json::serialize(o);
}

Info from_info(const std::string& text) {
  Info out;
  if (text.size() <= 2) return out;
  auto doc = json::parse(text);
  if (!doc) return out;
  auto strings = [&](const char* key, std::map<std::string, std::string>& into) {
    const auto* o = json::find(*doc, key);
    if (o == nullptr || !o->is_object()) return;
    for (const auto& [k, v] : o->get_object())
      if (v.is_string()) into[std::string(k)] = std::string(v.get_string());
  };
  strings("metadata", out.metadata);
  strings("tags", out.tags);
  out.checksum.algorithm = parse_checksum_name(json::string_or_empty(*doc, "algorithm"));
  out.checksum.value = json::string_or_empty(*doc, "checksum");
  if (const auto* c = json::find(*doc, "composite"); c != nullptr && c->is_bool())
    out.checksum.composite = c->get_bool();
  if (const auto* p = json::find(*doc, "parts"); p != nullptr && p->is_array())
    for (const auto& size : p->get_array())
      if (size.is_int64()) out.parts.push_back(static_cast<std::uint64_t>(size.get_int64()));
  return out;
}

Result<> bucket_exists(sql::Connection& c, const std::string& name) {
  bool found = false;
  MR_CHECK(c.query("SELECT 1 FROM buckets WHERE name = ?", "i", {name}, [&](const sql::Row&) { found = true; }));
  if (!found) return s3_error("NoSuchBucket");
  return {};
}

Result<std::string> put_row(sql::Connection& c, const std::string& bucket, const Object& o,
                            const WriteCondition& cond) {
  MR_CHECK(bucket_exists(c, bucket));
  std::string old_blob;
  std::string old_etag;
  bool present = false;
  MR_CHECK(c.query("SELECT blob, etag FROM objects WHERE bucket = ? AND key = ?", "ss", {bucket, o.key},
                   [&](const sql::Row& r) {
                     present = true;
                     old_blob = r.text(0);
                     old_etag = r.text(1);
                   }));
  if (cond.if_absent && present) return s3_error("PreconditionFailed");
  if (!cond.if_match.empty()) {
    if (!present) return s3_error("NoSuchKey");
    if (cond.if_match != "*" && cond.if_match != old_etag) return s3_error("PreconditionFailed");
  }
  MR_CHECK(
      c.exec("INSERT INTO objects (bucket, key, size, etag, blob, modified_ms, info) VALUES (?, ?, ?, ?, ?, ?, ?) ON "
             "CONFLICT (bucket, key) DO UPDATE SET size = excluded.size, etag = excluded.etag, "
             "blob = excluded.blob, modified_ms = excluded.modified_ms, info = excluded.info",
             bucket, o.key, o.size, o.etag, o.blob, o.modified_ms, to_info(o.metadata, o.tags, o.checksum, o.parts)));
  return old_blob;
}

}  // namespace mr::objects
