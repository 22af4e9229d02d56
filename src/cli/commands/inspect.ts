export async function inspect(_s: unknown, _o: unknown) {}
