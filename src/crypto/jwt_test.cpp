#include "crypto/jwt.h"

namespace mr::crypto {
namespace {

constexpr std::string_view kClaims = R"({"sub":"system:serviceaccount:ns:default","exp":1})";

TEST(Jwt, VerifiesWhatItSigned) {
  auto key = JwtKey::generate();
  ASSERT_TRUE(key);
  auto token = key->sign(kClaims);
  ASSERT_TRUE(token);
  EXPECT_EQ(std::ranges::count(*token, '.'), 2);
  EXPECT_EQ(key->verify(*token).value_or(""), kClaims);
  // The same key read back is the same key.
  auto again = JwtKey::from_pem(key->pem());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->id(), key->id());
  EXPECT_EQ(again->verify(*token).value_or(""), kClaims);
  EXPECT_NE(key->jwks().find(key->id()), std::string::npos);
  EXPECT_EQ(key->jwks().find("\"d\""), std::string::npos);  // the private part stays here
}

TEST(Jwt, RefusesEveryChange) {
  auto key = JwtKey::generate();
  auto other = JwtKey::generate();
  ASSERT_TRUE(key && other);
  auto token = *key->sign(kClaims);
  EXPECT_EQ(other->verify(token).error().code, Code::unauthenticated);
  for (std::size_t i = 0; i < token.size(); ++i) {
    auto changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(key->verify(changed)) << i;
    EXPECT_FALSE(key->verify(token.substr(0, i))) << i;
  }
  EXPECT_FALSE(key->verify(token + "A"));
  EXPECT_FALSE(key->verify(token + "="));
  EXPECT_FALSE(key->verify(""));
  EXPECT_FALSE(key->verify(".."));
  // "alg":"none", signed by nobody.
  auto payload = token.substr(token.find('.') + 1, token.rfind('.') - token.find('.') - 1);
  EXPECT_FALSE(key->verify("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + payload + "."));
}

TEST(Jwt, ReadsOnlyP256Keys) {
  EXPECT_EQ(JwtKey::from_pem("").error().code, Code::invalid_argument);
  EXPECT_EQ(JwtKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").error().code,
            Code::invalid_argument);
}

}  // namespace
}  // namespace mr::crypto
