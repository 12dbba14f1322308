// XML bodies behind a valid signature: DeleteObjects, CompleteMultipartUpload, tagging, bucket configuration; and keys,
// queries and headers of other requests. No request may bring a 500.
#include "await.h"
#include "crypto/digest.h"
#include "log/log.h"
#include "memory_body.h"
#include "objects/api.h"
#include "temp_dir.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

using namespace mr;

namespace {

struct S3 {
  testing::TempDir dir;
  task::Loops loops{1};
  std::unique_ptr<objects::Store> store;
  http::Handler handler;
  std::string upload;

  S3() {
    log::configure({.level = log::Level::off});
    auto s = objects::Store::open(dir.file("objects"));
    if (!s || !(*s)->make_bucket_blocking("bucket")) std::abort();
    store = std::move(*s);
    handler = objects::make_handler(*store, {"minio", "minio123"});
    (void)ask(http::Method::put, "/bucket/k", {}, "content");
    auto made = ask(http::Method::post, "/bucket/big", {{"uploads", ""}}, "");
    const auto& xml = std::get<std::string>(made.body);
    auto at = xml.find("<UploadId>");
    if (at == std::string::npos) {
      std::fprintf(stderr, "no upload: %d %s\n", made.status, xml.c_str());
      std::abort();
    }
    upload = xml.substr(at + 10, xml.find('<', at + 10) - at - 10);
    (void)ask(http::Method::put, "/bucket/big", {{"partNumber", "1"}, {"uploadId", upload}}, "part");
  }

  http::Response ask(http::Method method, std::string path, std::map<std::string, std::string> query,
                     std::string_view content, std::vector<std::pair<std::string, std::string>> more = {}) {
    using crypto::Algorithm;
    auto iso = time::iso8601_ms(time::now_ms());
    auto date = iso.substr(0, 4) + iso.substr(5, 2) + iso.substr(8, 2);
    auto stamp = date + "T" + iso.substr(11, 2) + iso.substr(14, 2) + iso.substr(17, 2) + "Z";
    std::string q;
    for (const auto& [k, v] : query)
      q += (q.empty() ? "" : "&") + text::percent_encode(k) + "=" + text::percent_encode(v);
    auto canonical = fmt::format(
        "{}\n{}\n{}\nhost:h\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{}\n\nhost;x-amz-content-sha256;x-amz-"
        "date\nUNSIGNED-PAYLOAD",
        http::method_name(method), path, q, stamp);
    auto to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}/r/s3/aws4_request\n{}", stamp, date,
                               text::hex(crypto::digest(Algorithm::sha256, canonical)));
    std::string key = "AWS4minio123";
    for (const auto& part : {date, std::string("r"), std::string("s3"), std::string("aws4_request"), to_sign})
      key = crypto::hmac(Algorithm::sha256, key, part);
    auto auth = fmt::format(
        "AWS4-HMAC-SHA256 Credential=minio/{}/r/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
        "Signature={}",
        date, text::hex(key));
    std::vector<std::string> pieces{std::string(content.substr(0, content.size() / 2)),
                                    std::string(content.substr(content.size() / 2))};
    testing::MadeRequest made(method, std::move(path), q, std::move(pieces), content.size());
    auto& rq = made.request;
    auto length = std::to_string(content.size());
    rq.headers.add("Host", "h");
    rq.headers.add("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    rq.headers.add("x-amz-date", stamp);
    rq.headers.add("Authorization", auth);
    rq.headers.add("Content-Length", length);
    for (const auto& [n, v] : more) rq.headers.add(n, v);
    return testing::await_on(loops, handler(rq));
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static S3 s3;
  using enum http::Method;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  http::Response r;
  auto key = "/bucket/" + text::percent_encode(input.substr(0, 1100), "/");
  auto nl = input.find('\n');
  auto first = std::string(input.substr(0, nl));
  auto second = nl == std::string_view::npos ? std::string() : std::string(input.substr(nl + 1));
  switch (data[0] % 10) {
    case 0:
      r = s3.ask(post, "/bucket", {{"delete", ""}}, input);
      break;
    case 1:
      r = s3.ask(post, "/bucket/big", {{"uploadId", s3.upload}}, input);
      break;
    case 2:
      r = s3.ask(put, "/bucket/k", {{"tagging", ""}}, input);
      break;
    case 3:
      r = s3.ask(put, "/newbucket", {}, input);
      break;
    case 4:
      r = s3.ask(get, "/bucket", {{"list-type", "2"}, {"prefix", first}, {"delimiter", second}, {"max-keys", "3"}}, "");
      break;
    case 5:
      r = s3.ask(get, "/bucket", {{"continuation-token", first}, {"list-type", "2"}, {"encoding-type", second}}, "");
      break;
    case 6:
      r = s3.ask(get, key, {}, "", {{"Range", second}, {"If-None-Match", first}});
      break;
    case 7:
      r = s3.ask(put, "/bucket/copied", {}, "", {{"x-amz-copy-source", first}, {"x-amz-metadata-directive", second}});
      break;
    case 8:
      r = s3.ask(put, "/bucket/k", {}, "content",
                 {{"x-amz-checksum-crc32", first}, {"x-amz-tagging", second}, {"x-amz-meta-a", second}});
      break;
    default:
      r = s3.ask(get, "/bucket/k", {{first, second}}, "");
      break;
  }
  const auto* text = std::get_if<std::string>(&r.body);
  if (r.status == 500) {
    std::fprintf(stderr, "case %d: %s\n", data[0] % 10, text == nullptr ? "" : text->c_str());
    std::abort();
  }
  if (text != nullptr && !text::utf8_valid(*text) &&
      r.headers.get("Content-Type").find("xml") != std::string_view::npos)
    std::abort();
  return 0;
}
