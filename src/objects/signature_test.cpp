// The worked examples of the S3 documentation ("Authenticating Requests"): their keys, requests and signatures.
#include "objects/signature.h"

#include "await.h"
#include "memory_body.h"
#include "objects/chunked.h"

namespace mr::objects {
namespace {

const Credentials kKeys{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
constexpr std::int64_t kNow = 1369353600;  // 20130524T000000Z
constexpr const char* kEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct Sent {
  const char* method = "GET";
  const char* path = "/";
  std::string query;
  std::vector<std::pair<std::string, std::string>> headers;
  Result<Payload> check(std::int64_t now = kNow, const Credentials& keys = kKeys) const {
    http::Request rq;
    rq.method_text = method;
    rq.path = path;
    rq.query = query;
    for (const auto& [n, v] : headers) rq.headers.add(n, v);
    return verify(rq, keys, now);
  }
};

std::string authorization(const char* signed_headers, const char* signature) {
  return fmt::format(
      "AWS4-HMAC-SHA256 "
      "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={},Signature={}",
      signed_headers, signature);
}

Sent get_object() {
  return {"GET",
          "/test.txt",
          "",
          {{"Host", "examplebucket.s3.amazonaws.com"},
           {"Range", "bytes=0-9"},
           {"x-amz-content-sha256", kEmpty},
           {"x-amz-date", "20130524T000000Z"},
           {"Authorization", authorization("host;range;x-amz-content-sha256;x-amz-date",
                                           "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")}}};
}

TEST(Signature, HeaderExamples) {
  EXPECT_TRUE(get_object().check());
  Sent put{"PUT",
           "/test%24file.text",
           "",
           {{"Host", "examplebucket.s3.amazonaws.com"},
            {"Date", "Fri, 24 May 2013 00:00:00 GMT"},
            {"x-amz-date", "20130524T000000Z"},
            {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
            {"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
            {"Authorization", authorization("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                                            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")}}};
  auto p = put.check();
  ASSERT_TRUE(p) << p.error().reason;
  EXPECT_EQ(p->kind, Payload::Kind::hashed);
  EXPECT_EQ(p->sha256, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
  auto bucket = [](std::string query, const char* signature) {
    return Sent{"GET",
                "/",
                std::move(query),
                {{"Host", "examplebucket.s3.amazonaws.com"},
                 {"x-amz-content-sha256", kEmpty},
                 {"x-amz-date", "20130524T000000Z"},
                 {"Authorization", authorization("host;x-amz-content-sha256;x-amz-date", signature)}}};
  };
  EXPECT_TRUE(bucket("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543").check());
  EXPECT_TRUE(
      bucket("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7").check());
  EXPECT_TRUE(bucket("prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
                  .check());  // order is not signed
}

TEST(Signature, AnyChangeBreaksIt) {
  auto reason = [](const Sent& s, std::int64_t now = kNow, const Credentials& keys = kKeys) {
    auto r = s.check(now, keys);
    return r ? "none" : r.error().reason;
  };
  auto changed = [](auto change) {
    auto s = get_object();
    change(s);
    return s;
  };
  EXPECT_EQ(reason(changed([](Sent& s) { s.method = "HEAD"; })), "SignatureDoesNotMatch");
  EXPECT_EQ(reason(changed([](Sent& s) { s.path = "/test2.txt"; })), "SignatureDoesNotMatch");
  EXPECT_EQ(reason(changed([](Sent& s) { s.query = "acl"; })), "SignatureDoesNotMatch");
  EXPECT_EQ(reason(changed([](Sent& s) { s.headers[1].second = "bytes=0-99"; })), "SignatureDoesNotMatch");
  EXPECT_EQ(reason(changed([](Sent& s) { s.headers.erase(s.headers.begin() + 1); })), "SignatureDoesNotMatch");
  EXPECT_EQ(reason(changed([](Sent& s) { s.headers[2].second = "UNSIGNED-PAYLOAD"; })), "SignatureDoesNotMatch");
  EXPECT_EQ(reason(changed([](Sent& s) { s.headers[4].second.back() = '2'; })), "SignatureDoesNotMatch");
  EXPECT_EQ(reason(get_object(), kNow, {kKeys.access_key, "another secret"}), "SignatureDoesNotMatch");
  EXPECT_EQ(reason(get_object(), kNow, {"another key", kKeys.secret_key}), "InvalidAccessKeyId");
  EXPECT_EQ(reason(get_object(), kNow + 901), "RequestTimeTooSkewed");
  EXPECT_EQ(reason(get_object(), kNow - 901), "RequestTimeTooSkewed");
  EXPECT_EQ(reason(get_object(), kNow + 899), "none");
  EXPECT_EQ(reason(changed([](Sent& s) { s.headers.pop_back(); })), "AccessDenied");
  EXPECT_EQ(reason(changed([](Sent& s) { s.headers[4].second = "Bearer x"; })), "InvalidArgument");
  EXPECT_EQ(reason(changed([](Sent& s) { s.headers[4].second = "AWS4-HMAC-SHA256 nonsense"; })),
            "AuthorizationHeaderMalformed");
  EXPECT_EQ(reason(changed([](Sent& s) {
              s.headers[4].second = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00";
            })),
            "AuthorizationHeaderMalformed");
}

TEST(Signature, PresignedExample) {
  const std::string query =
      "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_"
      "request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
      "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
  Sent s{"GET", "/test.txt", query, {{"Host", "examplebucket.s3.amazonaws.com"}}};
  ASSERT_TRUE(s.check());
  EXPECT_EQ(s.check()->kind, Payload::Kind::unsigned_body);
  EXPECT_TRUE(s.check(kNow + 86400));
  EXPECT_EQ(s.check(kNow + 86401).error().reason, "AccessDenied");
  EXPECT_EQ(s.check(kNow - 3600).error().reason, "AccessDenied");
  auto longer = s;
  longer.query.replace(longer.query.find("86400"), 5, "86401");
  EXPECT_EQ(longer.check().error().reason, "SignatureDoesNotMatch");
  longer.query.replace(longer.query.find("86401"), 5, "604801");
  EXPECT_EQ(longer.check().error().reason, "AuthorizationQueryParametersError");
  auto other = s;
  other.path = "/other.txt";
  EXPECT_EQ(other.check().error().reason, "SignatureDoesNotMatch");
}

// ---- chunks ----

Sent chunked_put() {
  return {"PUT",
          "/examplebucket/chunkObject.txt",
          "",
          {{"Host", "s3.amazonaws.com"},
           {"x-amz-date", "20130524T000000Z"},
           {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
           {"x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
           {"Content-Encoding", "aws-chunked"},
           {"x-amz-decoded-content-length", "66560"},
           {"Content-Length", "66824"},
           {"Authorization", authorization("content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-"
                                           "decoded-content-length;x-amz-storage-class",
                                           "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")}}};
}
const std::string kSignedBody =
    "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" +
    std::string(65536, 'a') +
    "\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" +
    std::string(1024, 'a') +
    "\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n";

struct Read {
  std::string body;
  std::string error;  // the reason
  std::map<std::string, std::string> trailers;
};
Read read_chunked(const std::string& wire, const Payload& p, std::uint64_t decoded, std::size_t piece) {
  auto inner = testing::MemoryBody::cut(wire, piece);
  ChunkedReader r(inner, p, decoded);
  Read out;
  for (;;) {
    auto got = testing::run_now(r.read());
    if (!got) {
      out.error = got.error().reason;
      return out;
    }
    if (got->empty()) break;
    out.body += *got;
  }
  out.trailers = r.trailers();
  return out;
}

TEST(Chunked, SignedExample) {
  auto p = chunked_put().check();
  ASSERT_TRUE(p) << p.error().reason;
  EXPECT_EQ(p->kind, Payload::Kind::chunked_signed);
  EXPECT_EQ(kSignedBody.size(), 66824U);
  for (std::size_t piece : {1UL, 7UL, 1000UL, 65536UL, 100000UL}) {
    auto r = read_chunked(kSignedBody, *p, 66560, piece);
    EXPECT_EQ(r.error, "") << piece;
    EXPECT_EQ(r.body, std::string(66560, 'a'));
  }
  auto one_byte = kSignedBody;
  one_byte[1000] = 'b';
  EXPECT_EQ(read_chunked(one_byte, *p, 66560, 4096).error, "SignatureDoesNotMatch");
  auto swapped = *p;
  swapped.seed_signature.back() = '0';
  EXPECT_EQ(read_chunked(kSignedBody, swapped, 66560, 4096).error, "SignatureDoesNotMatch");
  // Cut before the last, signed, empty chunk: whoever cuts a body must not get away with it.
  EXPECT_EQ(read_chunked(kSignedBody.substr(0, kSignedBody.rfind("0;chunk")), *p, 66560, 4096).error, "IncompleteBody");
}

TEST(Chunked, SignedTrailerExample) {
  Sent put{"PUT",
           "/examplebucket/chunkObject.txt",
           "",
           {{"Host", "s3.amazonaws.com"},
            {"x-amz-date", "20130524T000000Z"},
            {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
            {"x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"},
            {"Content-Encoding", "aws-chunked"},
            {"x-amz-decoded-content-length", "66560"},
            {"x-amz-trailer", "x-amz-checksum-crc32c"},
            {"Authorization", authorization("content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-"
                                            "content-length;x-amz-storage-class;x-amz-trailer",
                                            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e")}}};
  auto p = put.check();
  ASSERT_TRUE(p) << p.error().reason;
  const std::string head =
      "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" +
      std::string(65536, 'a') +
      "\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" +
      std::string(1024, 'a') +
      "\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n";
  const std::string trailer = "x-amz-checksum-crc32c:sOO8/Q==\r\n";
  const std::string tail =
      "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n";
  auto r = read_chunked(head + trailer + tail, *p, 66560, 8192);
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.body.size(), 66560U);
  EXPECT_EQ(r.trailers["x-amz-checksum-crc32c"], "sOO8/Q==");
  EXPECT_EQ(read_chunked(head + "x-amz-checksum-crc32c:sOO8/R==\r\n" + tail, *p, 66560, 8192).error,
            "SignatureDoesNotMatch");
  EXPECT_EQ(read_chunked(head + trailer + "\r\n", *p, 66560, 8192).error, "SignatureDoesNotMatch");
}

Read plain(const std::string& wire, std::uint64_t decoded, std::size_t piece = 5) {
  Payload p;
  p.kind = Payload::Kind::chunked_unsigned_trailer;
  return read_chunked(wire, p, decoded, piece);
}

TEST(Chunked, UnsignedWithTrailer) {
  auto r = plain("5\r\nhello\r\n6\r\n world\r\n0\r\nX-Amz-Checksum-CRC32:DUoRhQ==\r\n\r\n", 11);
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.body, "hello world");
  EXPECT_EQ(r.trailers, (std::map<std::string, std::string>{{"x-amz-checksum-crc32", "DUoRhQ=="}}));
  EXPECT_EQ(plain("0\r\n\r\n", 0).error, "");
  EXPECT_EQ(plain("A\r\n0123456789\r\n0\r\n\r\n", 10).body, "0123456789");
}

TEST(Chunked, RefusesBrokenFraming) {
  const std::tuple<std::string, std::uint64_t, std::string> cases[] = {
      {"", 0, "IncompleteBody"},
      {"5\r\nhel", 5, "IncompleteBody"},
      {"5\r\nhello\r\n", 5, "IncompleteBody"},
      {"5\r\nhello\r\n0\r\n\r\n", 6, "IncompleteBody"},    // shorter than declared
      {"5\r\nhello\r\n0\r\n\r\n", 4, "IncompleteBody"},    // longer than declared
      {"5\r\nhelloXX\r\n0\r\n\r\n", 5, "InvalidRequest"},  // longer than its own size
      {"x\r\nhello\r\n0\r\n\r\n", 5, "InvalidRequest"},
      {"-5\r\nhello\r\n0\r\n\r\n", 5, "InvalidRequest"},
      {"+5\r\nhello\r\n0\r\n\r\n", 5, "InvalidRequest"},
      {"0x5\r\nhello\r\n0\r\n\r\n", 5, "InvalidRequest"},
      {"\r\nhello\r\n0\r\n\r\n", 5, "InvalidRequest"},
      {"FFFFFFFFFFFFFFFFF\r\nhello", 5, "InvalidRequest"},
      {"FFFFFFFFFFFFFFFF\r\nhello", 5, "InvalidRequest"},
      {std::string(5000, '1'), 5, "InvalidRequest"},
      {"5;" + std::string(5000, 'x') + "\r\nhello\r\n0\r\n\r\n", 5, "InvalidRequest"},
      {"0\r\nno colon\r\n\r\n", 0, "MalformedTrailerError"},
  };
  for (const auto& [wire, decoded, reason] : cases) {
    for (std::size_t piece : {1UL, 3UL, 100000UL})
      EXPECT_EQ(plain(wire, decoded, piece).error, reason) << wire.substr(0, 60) << " in pieces of " << piece;
  }
  std::string many = "0\r\n";
  for (int i = 0; i < 17; ++i) many += fmt::format("h{}:x\r\n", i);
  EXPECT_EQ(plain(many + "\r\n", 0).error, "MalformedTrailerError");
}

TEST(Chunked, TheCutOfPiecesNeverMatters) {
  // A network may cut anywhere; what is accepted and what is refused must not depend on it.
  for (const std::string& wire :
       {std::string("5\r\nhello\r\n6\r\n world\r\n0\r\na:b\r\n\r\n"), std::string("5\r\nhello\r\n0\r\n\r\ntail"),
        std::string("5\r\nhello\r\n0\r\na:b\r\n\r\n\r\n"), std::string("3\r\nabc\r\n0\r\n")}) {
    std::uint64_t decoded = wire[0] == '3' ? 3 : wire.find("world") == std::string::npos ? 5 : 11;
    auto whole = plain(wire, decoded, wire.size());
    for (std::size_t piece = 1; piece < wire.size(); ++piece) {
      auto r = plain(wire, decoded, piece);
      ASSERT_EQ(r.error, whole.error) << wire << " in pieces of " << piece;
      ASSERT_EQ(r.body, whole.body);
      ASSERT_EQ(r.trailers, whole.trailers);
    }
  }
}

}  // namespace
}  // namespace mr::objects
