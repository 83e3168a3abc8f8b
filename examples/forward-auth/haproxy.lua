-- Asks the gateway's forward-auth listener whether a request may pass to the service of a Deployment.
local ASKED = "http://127.0.0.1:8082/forward-auth/"
local TIME = 5000 -- milliseconds

-- What belongs to the caller's connection and body, and what only this script may say.
local LEFT_OUT = {
  ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["te"] = true,
  ["transfer-encoding"] = true,
}

core.register_action("bento_gateway", { "http-req" }, function(txn, deployment)
  local fields = {}
  for name, values in pairs(txn.http:req_get_headers()) do
    if not LEFT_OUT[name] then
      fields[name] = {}
      for number, value in pairs(values) do
        fields[name][number + 1] = value
      end
    end
  end
  -- In place of what the caller says.
  fields["x-forwarded-method"] = { txn.f:method() }
  fields["x-forwarded-host"] = fields["host"]
  fields["host"] = nil
  fields["x-forwarded-uri"] = { txn.f:pathq() }
  fields["x-forwarded-for"] = { txn.f:src() }

  local answer = core.httpclient():get({ url = ASKED .. deployment, headers = fields, timeout = TIME })
  if answer == nil or answer.status == nil or answer.status == 0 then
    txn:done(txn:reply({ status = 503 }))
    return
  end
  if answer.status == 200 then
    for variable, name in pairs({
      ["txn.bento_gateway_deployment"] = "x-bento-gateway-deployment",
      ["txn.bento_gateway_token_uid"] = "x-bento-gateway-token-uid",
    }) do
      local values = answer.headers[name]
      if values then
        txn:set_var(variable, values[0])
      end
    end
    return
  end
  local reply = txn:reply({ status = answer.status, body = answer.body })
  for _, name in ipairs({
    "content-type", "www-authenticate", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id",
    "x-bento-gateway-reason",
  }) do
    local values = answer.headers[name]
    if values then
      reply:add_header(name, values[0])
    end
  end
  txn:done(reply)
end, 1)
